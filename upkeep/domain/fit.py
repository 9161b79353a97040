"""Whether a whole run fits into a window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from upkeep.domain.document import words
from upkeep.domain.host_time import HostTime, run_time
from upkeep.domain.plan import Plan
from upkeep.domain.schedule import Schedule, Span
from upkeep.domain.stages import StagePlan


@dataclass(frozen=True)
class Fit:
    """A run against one span; `spare` is negative where time is lacking, and None where nothing ends."""

    span: Span | None
    takes: timedelta
    spare: timedelta | None

    @property
    def fits(self) -> bool:
        """Whether every host can have its turn in the span."""
        return self.span is not None and (self.spare is None or self.spare >= timedelta(0))


def fit(span: Span | None, now: datetime, needs: Needs) -> Fit:
    """A run that begins in `span`, now or when it opens; the last host must begin before the cutoff and have time to go back."""
    if span is None or span.end is None:
        return Fit(span, needs.whole, None)
    left = span.end - max(now, span.start)
    spare = min(left - needs.whole, left - span.cutoff - needs.last_begins)
    return Fit(span, needs.whole, spare)


@dataclass(frozen=True)
class Needs:
    """What a run needs of a window: until its last host begins, and until that host has been watched and could have gone back."""

    last_begins: timedelta
    whole: timedelta

    @classmethod
    def of(cls, plan: Plan, stages: StagePlan, fleet_size: int, time: HostTime) -> Needs:
        """Reckoned from the stages with the time one host takes."""
        whole = run_time(plan, stages, fleet_size, time.change)
        last_soak = stages.stages[-1].soak if stages.stages else timedelta()
        return cls(max(timedelta(), whole - last_soak - time.change), whole + time.rollback)


def fit_sentence(schedule: Schedule, now: datetime, needs: Needs) -> str:
    """`fits the window … with 38 min to spare`, for the window that is open or opens next."""
    if not schedule.binds:
        return "The plan has no window and no freezes: it may run at any time."
    spans = schedule.openings(now, 1)
    if not spans:
        return f"Does not fit: {schedule.decide(now).reason}."
    found = fit(spans[0], now, needs)
    which = "the window open now" if spans[0].start <= now else f"the window that opens {schedule.told(spans[0].start)}"
    if found.spare is None:
        return f"Fits {which}, which does not close within the time looked ahead."
    if found.fits:
        return f"Fits {which} with {_minutes(found.spare)} to spare: it takes about {_minutes(found.takes)}, a last rollback included."
    return (
        f"Does not fit {which}: it takes about {_minutes(found.takes)}, a last rollback included, and {_minutes(-found.spare)} are "
        "lacking; hosts that do not fit are not started, and `upkeep retry` takes them in the next window."
    )


def _minutes(duration: timedelta) -> str:
    return words(timedelta(seconds=int(duration.total_seconds()))) or "0 s"
