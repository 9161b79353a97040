"""When hosts may be changed: windows without freezes, decided for one instant, and what still fits.

Pure: freezes come in expanded, and so does the reason of every calendar that cannot be read.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from upkeep.domain.document import words
from upkeep.domain.local_time import zone_of
from upkeep.domain.window import LOOK_AHEAD, Window, starts

_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, order=True)
class Span:
    """A time during which hosts may be changed, [start, end); `end` None: not within the time looked ahead."""

    start: datetime
    end: datetime | None
    cutoff: timedelta = timedelta(0)

    @property
    def cutoff_at(self) -> datetime | None:
        """From when on no new host is started."""
        return None if self.end is None else max(self.start, self.end - self.cutoff)


@dataclass(frozen=True, order=True)
class Freeze:
    """A time, [start, end), in which nothing may be changed."""

    start: datetime
    end: datetime
    name: str = ""
    calendar: str = ""


@dataclass(frozen=True)
class Standing:
    """What holds at one instant; `reason` says why closed, or which window is open."""

    open: bool
    reason: str
    closes_at: datetime | None = None
    cutoff_at: datetime | None = None
    next_opening: datetime | None = None


@dataclass(frozen=True)
class Schedule:
    """All windows and freezes of a plan. Without windows any time is open but that of freezes; windows are alternatives."""

    windows: tuple[Window, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which times are told: the first window's, else UTC."""
        return zone_of(self.windows[0].zone if self.windows else "UTC")

    @property
    def binds(self) -> bool:
        """Whether there is any time at which hosts may not be changed."""
        return bool(self.windows or self.freezes or self.unreadable)

    def decide(self, now: datetime) -> Standing:
        """Open or closed, until when, and when it opens next."""
        if self.unreadable:
            return Standing(
                open=False, reason=f"a calendar cannot be read, which counts as closed: {'; '.join(self.unreadable)}"
            )
        here, following = self._around(now)
        next_opening = following.start if following else None
        if here is not None:
            until = f" until {self.told(here.end)}" if here.end else ""
            return Standing(True, f"open{until}", here.end, here.cutoff_at, next_opening)  # noqa: FBT003 - the first field
        return Standing(open=False, reason=self._why_closed(now, next_opening), next_opening=next_opening)

    def refusal(self, now: datetime, expected: timedelta = timedelta(0), rollback: timedelta = timedelta(0)) -> str:
        """Why a host that takes `expected`, and `rollback` to be put back, may not start now; empty when it may."""
        standing = self.decide(now)
        if not standing.open:
            return standing.reason
        again = f"; it opens next {self.told(standing.next_opening)}" if standing.next_opening else ""
        if standing.closes_at is None or standing.cutoff_at is None:
            return ""
        if now >= standing.cutoff_at:
            return f"the window closes {self.told(standing.closes_at)} and starts no host after {self.told(standing.cutoff_at)}{again}"
        left = standing.closes_at - now
        if expected + rollback > left:
            return (
                f"the window closes {self.told(standing.closes_at)}, in {_minutes(left)}, and a host needs {_minutes(expected)} "
                f"and {_minutes(rollback)} to go back{again}"
            )
        return ""

    def fits(self, now: datetime, expected: timedelta, rollback: timedelta) -> bool:
        """Whether a host may start now: open, before the cutoff, and with time to be put back before the end."""
        return not self.refusal(now, expected, rollback)

    def openings(self, now: datetime, count: int) -> list[Span]:
        """The span that is open now, if any, and the next ones, `count` in all at most."""
        if self.unreadable:
            return []
        found: list[Span] = []
        for span in self._spans(now):
            if len(found) == count:
                break
            found.append(span)
        return found

    def told(self, at: datetime | None) -> str:
        """An instant in the schedule's zone and in UTC."""
        if at is None:
            return f"not within {LOOK_AHEAD.days} days"
        utc = f"{at:%Y-%m-%d %H:%M} UTC"
        return utc if self.zone.key == "UTC" else f"{at.astimezone(self.zone):%a %Y-%m-%d %H:%M %Z} ({utc})"

    def _around(self, now: datetime) -> tuple[Span | None, Span | None]:
        here: Span | None = None
        for span in self._spans(now):
            if span.start > now:
                return here, span
            here = span
        return here, None

    def _spans(self, now: datetime) -> Iterator[Span]:
        """Every open span that ends after `now`, in order."""
        horizon = now + LOOK_AHEAD
        frozen = list(_merged(sorted(Span(freeze.start, freeze.end) for freeze in self.freezes if freeze.end > now)))
        for span in _merged(self._windows(now, horizon)) if self.windows else [Span(_BEGINNING, horizon)]:
            for rest in _without(span, frozen):
                if rest.end is not None and rest.end > now:
                    yield rest if rest.end < horizon else replace(rest, end=None)

    def _windows(self, now: datetime, horizon: datetime) -> Iterator[Span]:
        """The openings of every window in order of their starts, reckoned only as far as they are asked for."""
        return heapq.merge(*(_openings(window, now, horizon) for window in self.windows), key=lambda span: span.start)

    def _why_closed(self, now: datetime, next_opening: datetime | None) -> str:
        frozen = next((f for f in sorted(self.freezes) if f.start <= now < f.end), None)
        if frozen is not None:
            why = f"a freeze holds until {self.told(frozen.end)}: '{frozen.name}' of {frozen.calendar}"
        else:
            why = "no maintenance window is open"
        return f"{why}; the next one opens {self.told(next_opening)}"


def _openings(window: Window, now: datetime, horizon: datetime) -> Iterator[Span]:
    for start in starts(window, now - window.duration, horizon):
        yield Span(start, start + window.duration, window.cutoff)


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans, in order of their starts, with those that overlap or touch as one; the one that ends last gives its cutoff."""
    last: Span | None = None
    for span in spans:
        if last is None or last.end is None or span.end is None or span.start > last.end:
            if last is not None:
                yield last
            last = span
        else:
            _, cutoff, end = max((one.end, one.cutoff, one.end) for one in (last, span) if one.end is not None)
            last = Span(last.start, end, cutoff)
    if last is not None:
        yield last


def _without(span: Span, frozen: Iterable[Span]) -> Iterator[Span]:
    """What freezes, merged and in order, leave of a span."""
    start, end = span.start, span.end
    for freeze in frozen:
        if end is None or freeze.end is None or freeze.end <= start or freeze.start >= end:
            continue
        if freeze.start > start:
            yield replace(span, start=start, end=freeze.start)
        start = freeze.end
    if end is not None and start < end:
        yield replace(span, start=start)


def _minutes(duration: timedelta) -> str:
    """A duration without fractions of a second."""
    return words(timedelta(seconds=int(duration.total_seconds()))) or "0 s"
