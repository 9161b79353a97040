"""A delivery that is not kept is an event of the history: each kind of refusal at once, and then once a minute with its number.

Anybody may knock as often as he likes, so no refusal may cost an event each.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from upkeep.domain.record import Actor
from upkeep.errors import AuditError, UpkeepError
from upkeep.wiring import Site

ACTION = "delivery.refused"
EVERY_SECONDS = 60.0
MOST_KINDS = 100
"""Reasons are few; should one ever hold something of the delivery, all further ones are counted as one kind."""
UNKNOWN = "(unknown)"
log = logging.getLogger(__name__)


@dataclass
class _Kind:
    written_at: float
    since: int = 0


class RefusedDeliveries:
    """Writes refusals down; counts those of one source and reason that come within a minute of the last one written."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.monotonic) -> None:
        self._site, self._clock = site, clock
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._lock = threading.Lock()

    def note(self, source: str, status: int, problem: str, address: str) -> None:
        """One refusal; a history that cannot be written keeps nobody from their answer."""
        known = source if self._is_known(source) else UNKNOWN
        times = self._counted(known, problem)
        if not times:
            return
        body = {"source": known, "status": status, "from": address, "times": times}
        actor = Actor(name=f"sender at {address}", kind="ticket")
        try:
            self._site.history.record("", ACTION, reason=problem, body=body, actor=actor)
        except AuditError:
            log.exception("a refused delivery could not be written into the history")

    def _counted(self, source: str, problem: str) -> int:
        """How many refusals the event to write now stands for; 0 when none is to be written."""
        now = self._clock()
        with self._lock:
            key = (source, problem)
            if key not in self._kinds and len(self._kinds) >= MOST_KINDS:
                key = ("", "")
            kind = self._kinds.get(key)
            if kind is not None and now - kind.written_at < EVERY_SECONDS:
                kind.since += 1
                return 0
            self._kinds[key] = _Kind(now)
            return 1 + (kind.since if kind else 0)

    def _is_known(self, source: str) -> bool:
        try:
            sources = self._site.tickets
        except UpkeepError:
            return False
        return sources is not None and source in sources.sources
