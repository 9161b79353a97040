"""When a plan starts by itself, and what became of a start that should have been."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from upkeep.domain.schedule import Schedule
from upkeep.domain.window import Window

TOLERANCE = timedelta(seconds=60)
"""A start that is later than this is missed: it is written down and never made up for."""

LOOK_BACK = timedelta(days=31)
MISSED = "missed-"
_AT_ONCE = 32


class Start(StrEnum):
    """What the history says of one planned start."""

    UNKNOWN = "unknown"
    PROMISED = "promised"
    OPENED = "opened"
    MISSED = "missed"


@dataclass(frozen=True)
class PlannedStart:
    """One opening of one plan's window; its id is the id of the run, so that there is never more than one."""

    plan: str
    at: datetime

    @property
    def id(self) -> str:
        """The same for the same plan file and instant, on every controller."""
        return f"{self.at.astimezone(UTC):%Y%m%d-%H%M%S}-{hashlib.sha256(self.plan.encode()).hexdigest()[:6]}"

    @property
    def missed_id(self) -> str:
        """Under which the history keeps that it was missed."""
        return MISSED + self.id


def planned_starts(plan: str, windows: tuple[Window, ...], since: datetime) -> Iterator[PlannedStart]:
    """Every start from `since` on, in order; windows that touch or overlap open once. Freezes move no start, they make it missed."""
    schedule, count, told = Schedule(windows), _AT_ONCE, 0
    while True:
        spans = schedule.openings(since, count)
        for span in spans[told:]:
            if span.start >= since:
                yield PlannedStart(plan, span.start)
        if len(spans) < count:
            return
        told, count = len(spans), count * 2


def overdue(past: Iterable[tuple[PlannedStart, Start]]) -> list[PlannedStart]:
    """The starts, oldest first, that should have been and were not; `past` is newest first.

    Only what came after a start that a controller knew of: a plan that is new has missed nothing.
    """
    waiting: list[PlannedStart] = []
    sure = 0
    for start, standing in past:
        if standing in {Start.OPENED, Start.MISSED}:
            return waiting[::-1]
        waiting.append(start)
        if standing is Start.PROMISED:
            sure = len(waiting)
    return waiting[:sure][::-1]
