"""Simulated time: what is due happens in order, and nothing waits for real."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from upkeep.errors import UpkeepError

Act = Callable[[], object]


@dataclass(order=True)
class Due:
    """Something that happens at `at` (seconds since the beginning) unless it is cancelled before."""

    at: float
    order: int
    act: Act | None = field(compare=False)

    def cancel(self) -> None:
        """Let it never happen."""
        self.act = None


class Timeline:
    """The clock of a simulation and everything that is still to happen."""

    def __init__(self, start: datetime) -> None:
        self.start = start
        self.seconds = 0.0
        self.happened = 0
        self._due: list[Due] = []
        self._orders = 0

    @property
    def now(self) -> datetime:
        """The simulated time."""
        return self.start + timedelta(seconds=self.seconds)

    def after(self, seconds: float, act: Act) -> Due:
        """Let `act` happen in so many seconds."""
        self._orders += 1
        due = Due(self.seconds + max(0.0, seconds), self._orders, act)
        heapq.heappush(self._due, due)
        return due

    def at(self, moment: datetime, act: Act) -> Due:
        """Let `act` happen at `moment`, or at once when that is past."""
        return self.after((moment - self.now).total_seconds(), act)

    def next(self) -> bool:
        """Let the next thing happen; False when nothing is left."""
        while self._due:
            due = heapq.heappop(self._due)
            if due.act is not None:
                self.seconds = due.at
                self.happened += 1
                due.act()
                return True
        return False


class Fibre:
    """Work that goes on in steps of simulated time; ends with a value or an error, or never when its process dies."""

    def __init__(
        self, work: Work, alive: Callable[[], bool], done: Callable[[object, UpkeepError | None], None]
    ) -> None:
        self._work, self._alive, self._done = work, alive, done

    def go_on(self, value: object = None, error: UpkeepError | None = None) -> None:
        """Go on with the answer to what the work waited for."""
        if not self._alive():
            self._work.close()
            return
        try:
            wait = self._work.throw(error) if error is not None else self._work.send(value)
        except StopIteration as end:
            self._done(end.value, None)
        except UpkeepError as failure:
            self._done(None, failure)
        else:
            wait(self)


Wait = Callable[[Fibre], None]
"""What work yields: it is handed the fibre and lets it go on some time."""

Work = Generator[Wait, object, object]


def pause(timeline: Timeline, seconds: float) -> Wait:
    """Let the work rest."""

    def wait(fibre: Fibre) -> None:
        timeline.after(seconds, fibre.go_on)

    return wait
