"""The time limits of one running script."""

from __future__ import annotations

import time

from upkeep.domain.document import words
from upkeep.errors import CommandTimeout
from upkeep.hosts.transport import Limits


class Stopwatch:
    """Counts from its making; `touch` says that something moved."""

    def __init__(self, host: str, limits: Limits) -> None:
        self._host, self._limits = host, limits
        self._started = self._moved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the script was sent."""
        return time.monotonic() - self._started

    def touch(self) -> None:
        """A byte was sent or received."""
        self._moved = time.monotonic()

    def left(self) -> float:
        """Seconds until the next limit, at least 0."""
        return max(0.0, min(self._total_end, self._idle_end) - time.monotonic())

    def check(self) -> None:
        """Raise when a limit has passed.

        Raises:
            CommandTimeout: which limit, and how long it is.
        """
        now = time.monotonic()
        if now >= self._total_end:
            raise CommandTimeout(
                self._host,
                f"the script was still running after {words(self._limits.total)} (total limit) and was hung up on",
                remedy="look at the host's load, or allow more time",
            )
        if now >= self._idle_end:
            raise CommandTimeout(
                self._host,
                f"the script moved no byte for {words(self._limits.idle)} (idle limit) and was hung up on",
                remedy="look for a command on the host that waits for something",
            )

    @property
    def _total_end(self) -> float:
        return self._started + self._limits.total.total_seconds()

    @property
    def _idle_end(self) -> float:
        return self._moved + self._limits.idle.total_seconds()
