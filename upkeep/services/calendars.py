"""Freezes and holidays from iCalendar files and addresses; what cannot be read to the last event counts as closed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from upkeep.domain.local_time import instant, zone_of
from upkeep.domain.plan import Plan
from upkeep.domain.schedule import Freeze, Schedule
from upkeep.domain.window import FREQUENCIES, LOOK_AHEAD, FreezeCalendar
from upkeep.errors import ServiceError, UpkeepError, shorten
from upkeep.services.web import Limits, get, public

MOST_BYTES = 4 * 1024**2
MOST_EVENTS = 20_000
MOST_REPEATS = 200_000
"""Repetitions to go through, from the first day of every series on; a daily one has 365 a year."""
_PER_YEAR = {"DAILY": 365, "WEEKLY": 365, "MONTHLY": 60, "YEARLY": 12}
_OK = 200
_READ_EVERY = timedelta(minutes=5)
_LIMITS = Limits(
    connect=timedelta(seconds=5), idle=timedelta(seconds=5), total=timedelta(seconds=10), body_bytes=MOST_BYTES
)


def read_freezes(calendar: FreezeCalendar, folder: Path, now: datetime, *, zone: str = "UTC") -> tuple[Freeze, ...]:
    """The freezes of one calendar from `now` on, recurring ones expanded as far as schedules look ahead.

    `folder` is the plan's, `zone` that of whole days and floating times where the calendar entry names none.

    Raises:
        ServiceError: it cannot be fetched, or not every event of it can be understood.
    """
    text = _text(calendar, folder)
    try:
        return tuple(_freezes(text, calendar, calendar.zone or zone, now))
    except UpkeepError:
        raise
    except Exception as error:  # whatever two parsers of foreign text come up with means the same: unreadable
        raise _unreadable(calendar, str(error) or type(error).__name__) from error


def _text(calendar: FreezeCalendar, folder: Path) -> str:
    try:
        body = _fetched(calendar, folder) if calendar.url else _from_file(folder / Path(calendar.file).expanduser())
        return body.decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(calendar, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _unreadable(calendar, "it is not UTF-8 text") from error
    except UpkeepError as error:
        raise _unreadable(calendar, str(error)) from error


def _from_file(path: Path) -> bytes:
    with path.open("rb") as file:
        body = file.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise ServiceError(f"it is larger than {MOST_BYTES} bytes")
    return body


def _fetched(calendar: FreezeCalendar, folder: Path) -> bytes:
    ca = folder / Path(calendar.ca).expanduser() if calendar.ca else ""
    answer = get(calendar.url, headers={"Accept": "text/calendar"}, ca=ca, limits=_LIMITS)
    if answer.status != _OK:
        raise ServiceError(f"{answer.url} answered with status {answer.status}")
    return answer.body


def _freezes(text: str, calendar: FreezeCalendar, zone: str, now: datetime) -> Iterator[Freeze]:
    import icalendar  # noqa: PLC0415 - slow to load, and most plans name no calendar
    import recurring_ical_events  # noqa: PLC0415

    parsed = icalendar.Calendar.from_ical(text)
    if not isinstance(parsed, icalendar.Calendar):
        raise _unreadable(calendar, "it holds no VCALENDAR")
    for component in parsed.walk():
        if component.errors:
            key, problem = component.errors[0]
            raise _unreadable(calendar, f"{component.name}: {key}: {problem}")
    repeats = sum(_check(event, calendar, now) for event in parsed.walk("VEVENT"))
    if repeats > MOST_REPEATS:
        raise _unreadable(
            calendar, f"its series repeat about {repeats} times, and {MOST_REPEATS} are gone through at the most"
        )
    since = now - timedelta(days=2)  # whole days begin earlier in some zones than in others
    found = recurring_ical_events.of(parsed, components=["VEVENT"]).between(since, now + LOOK_AHEAD)
    if len(found) > MOST_EVENTS:
        raise _unreadable(calendar, f"it holds more than {MOST_EVENTS} events in {LOOK_AHEAD.days} days")
    for event in found:
        if event.get("STATUS") != "CANCELLED":
            start, end = _instant(event.start, zone), _instant(event.end, zone)
            yield Freeze(start, end, shorten(str(event.get("SUMMARY", "without title")), 120), calendar.title)


def _check(event: Any, calendar: FreezeCalendar, now: datetime) -> int:  # noqa: ANN401 - icalendar's components are loosely typed
    """Refuse what the expansion would take in silence and get wrong; about how often the event repeats."""
    title = shorten(str(event.get("SUMMARY", "without title")), 80)
    if "DTSTART" not in event:
        raise _unreadable(calendar, f"event '{title}' has no start")
    start, end = event.start, event.end
    if type(start) is not type(end) or (_is_aware(start) != _is_aware(end)) or end <= start:
        raise _unreadable(calendar, f"event '{title}' does not end after it starts")
    for key in ("DTSTART", "DTEND"):
        value = event.get(key)
        if value is not None and "TZID" in value.params and not _is_aware(value.dt):
            raise _unreadable(calendar, f"event '{title}' is in the unknown time zone '{value.params['TZID']}'")
    rules = event.get("RRULE", [])
    years = max(0, (now + LOOK_AHEAD).year - start.year) + 1
    return sum(years * _repeats(rule, title, calendar) for rule in (rules if isinstance(rules, list) else [rules]))


def _repeats(rule: Any, title: str, calendar: FreezeCalendar) -> int:  # noqa: ANN401 - icalendar's components are loosely typed
    freq = str((rule.get("FREQ") or [""])[0])
    if freq not in FREQUENCIES or any(key in rule for key in ("BYHOUR", "BYMINUTE", "BYSECOND")):
        raise _unreadable(calendar, f"event '{title}' repeats more often than daily ({freq})")
    return _PER_YEAR[freq]


def _is_aware(value: date) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _instant(value: date, zone: str) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo is not None else instant(value, zone_of(zone))
    return instant(datetime.combine(value, time()), zone_of(zone))


def _unreadable(calendar: FreezeCalendar, why: str) -> ServiceError:
    source = calendar.file or public(calendar.url)
    named = f"{calendar.name} ({source})" if calendar.name else source
    return ServiceError(f"{named}: {shorten(why, 200)}")


class Calendars:
    """A plan's freezes, read again now and then: an emergency freeze binds runs that are under way."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._zone = plan.window[0].zone if plan.window else "UTC"
        self._read_at: datetime | None = None
        self._schedule = Schedule(plan.window)

    def schedule(self, now: datetime) -> Schedule:
        """Windows and freezes as known now; nothing is raised, what cannot be read is in `unreadable`."""
        if self._plan.freezes and (self._read_at is None or now - self._read_at >= _READ_EVERY):
            self._schedule, self._read_at = self._read(now), now
        return self._schedule

    def _read(self, now: datetime) -> Schedule:
        freezes: list[Freeze] = []
        unreadable: list[str] = []
        for calendar in self._plan.freezes:
            try:
                freezes += read_freezes(calendar, self._folder, now, zone=self._zone)
            except ServiceError as error:
                unreadable.append(str(error))
        return Schedule(self._plan.window, tuple(freezes), tuple(unreadable))
