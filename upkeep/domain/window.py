"""Maintenance windows and freeze calendars as people write them, and when a window opens.

A window is a time zone, a rule of RFC 5545, a first start, a duration and a cutoff. Starts are local times turned into instants
first; everything after that is counted in real hours.
"""

from __future__ import annotations

import functools
import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import MAXYEAR, UTC, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from dateutil.rrule import rrule, rrulestr
from pydantic import BeforeValidator, Field, field_validator, model_validator

from upkeep.domain.document import Document, Duration, words
from upkeep.domain.local_time import instant, zone_of

FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
LOOK_AHEAD = timedelta(days=1500)
"""Longer than four years, so that a window on 29 February is found."""

_PARTS = (
    "FREQ INTERVAL COUNT UNTIL BYDAY BYMONTHDAY BYMONTH BYYEARDAY BYWEEKNO BYSETPOS WKST".split()  # noqa: SIM905 - a list of words
)
_NEVER_AFTER = timedelta(days=9 * 366)
_FIRST_YEAR, _LAST_YEAR = 2000, 2199
_CYCLES_YEARS = 19 * 400
_LONGEST_RULE = 500
_UNTIL = re.compile(r"(\d{8})(T\d{6}(Z?))?")


def _local_time(value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            value = None
    if isinstance(value, datetime) and value.tzinfo is None and _FIRST_YEAR <= value.year <= _LAST_YEAR:
        return value.replace(microsecond=0)
    message = (
        "is not a local date and time; allowed: date and time of the first opening, without offset (the zone says it), "
        f"from {_FIRST_YEAR} to {_LAST_YEAR}, e.g. 2026-11-20 22:00"
    )
    raise ValueError(message)


LocalTime = Annotated[datetime, BeforeValidator(_local_time)]


class Window(Document):
    """When hosts may be changed: a rule that opens again and again."""

    name: str = Field("", max_length=100)
    zone: str = Field(description="IANA time zone, e.g. Europe/Berlin")
    rule: str = Field(description="RFC 5545 rule, daily or slower, e.g. FREQ=WEEKLY;BYDAY=FR", max_length=_LONGEST_RULE)
    start: LocalTime = Field(
        description="First opening in local time, e.g. 2026-11-20 22:00; its time of day holds for all"
    )
    duration: Duration = Field(description="How long it stays open, in real hours whatever the clocks do")
    cutoff: Duration = Field(timedelta(0), description="No new host in this last part of the window")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        zone_of(value)
        return value

    @field_validator("rule")
    @classmethod
    def _readable_rule(cls, value: str) -> str:
        _parsed(value)
        return value

    @model_validator(mode="after")
    def _opens(self) -> Window:
        if not self.duration:
            message = "duration must be more than 0 s"
            raise ValueError(message)
        if self.cutoff >= self.duration:
            message = f"cutoff ({words(self.cutoff)}) must be shorter than duration ({words(self.duration)}), or no host ever starts"
            raise ValueError(message)
        if not any(True for _ in _local_starts(self, self.start + _NEVER_AFTER)):
            message = (
                f"rule never opens after start: {self.rule}; allowed: a rule that opens within nine years of start"
            )
            raise ValueError(message)
        return self

    @property
    def title(self) -> str:
        """The name, or the rule with its start."""
        return self.name or f"{self.rule} {self.start:%H:%M} {self.zone}"


class FreezeCalendar(Document):
    """An iCalendar file or URL; while one of its events lasts, no window is open."""

    name: str = Field("", max_length=100)
    file: str = Field("", description="iCalendar file, relative to the plan")
    url: str = Field("", description="iCalendar address, http(s)")
    ca: str = Field("", description="CA file for the address; default: the system's")
    zone: str = Field(
        "", description="Zone of whole days and of times without zone; default: that of the first window, else UTC"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
        if isinstance(value, str):
            return {"url": value} if "://" in value else {"file": value}
        return value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value:
            zone_of(value)
        return value

    @field_validator("url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            message = "is not an address; allowed: http:// or https://"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _one_source(self) -> FreezeCalendar:
        if bool(self.file) == bool(self.url):
            message = "give either file or url"
            raise ValueError(message)
        return self

    @property
    def title(self) -> str:
        """The name, or the file; of an address only its host, because the path of a private calendar is a secret."""
        return self.name or self.file or (urlsplit(self.url).hostname or "a calendar")


def starts(window: Window, since: datetime, until: datetime) -> Iterator[datetime]:
    """The instants, in UTC, at which the window opens in [since, until]."""
    known = _starts_through(window, until.year + 1)
    return iter(known[bisect_left(known, since) : bisect_right(known, until)])


@functools.lru_cache(maxsize=256)
def _starts_through(window: Window, year: int) -> tuple[datetime, ...]:
    """Every start up to the end of `year`; at most one a day, because rules are daily or slower."""
    zone, (_, limits) = zone_of(window.zone), _parsed(window.rule)
    last = limits.instant_until
    found = (instant(local, zone) for local in _local_starts(window, datetime(year, 12, 31, 23, 59, 59)))  # noqa: DTZ001 - local time
    return tuple(at for at in found if last is None or at <= last)


def _local_starts(window: Window, until: datetime) -> Iterator[datetime]:
    """The rule's local times up to `until`.

    dateutil looks for a match up to the year 9999, which takes seconds where there is none: the rule is followed as many whole
    calendar cycles later as fit, where every date has the same weekday and the end is near.
    """
    text, limits = _parsed(window.rule)
    last = min(until, limits.local_until or until)
    if last < window.start:
        return
    rule = rrulestr(text, dtstart=_moved(window.start, _CYCLES_YEARS))
    if isinstance(rule, rrule):
        for at in itertools.islice(rule.replace(until=_moved(last, _CYCLES_YEARS)), limits.count):
            yield _moved(at, -_CYCLES_YEARS)


def _moved(at: datetime, years: int) -> datetime:
    return at.replace(year=min(at.year + years, MAXYEAR))


class _Limits(Document):
    """The ends of a rule, which are kept apart from it: dateutil mixes up local and UTC ends."""

    count: int | None = None
    local_until: datetime | None = None
    instant_until: datetime | None = None


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> tuple[str, _Limits]:
    """The rule without COUNT and UNTIL, and these.

    Raises:
        ValueError: finer than daily, or not a rule.
    """
    parts = _split(text)
    freq = parts.get("FREQ", "")
    if freq not in FREQUENCIES:
        message = f"rule repeats {freq or 'without FREQ'}, which windows do not; allowed: FREQ={', '.join(FREQUENCIES)}"
        raise ValueError(message)
    unknown = [key for key in parts if key not in _PARTS]
    if unknown:
        why = ": the time of day is start's" if unknown[0] in {"BYHOUR", "BYMINUTE", "BYSECOND"} else ""
        message = f"rule has {unknown[0]}{why}; allowed: {', '.join(_PARTS)}"
        raise ValueError(message)
    limits = _limits(parts.pop("COUNT", None), parts.pop("UNTIL", None))
    bare = ";".join(f"{key}={value}" for key, value in parts.items())
    try:
        rrulestr(bare, dtstart=datetime(_FIRST_YEAR, 1, 1))  # noqa: DTZ001 - local time
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        message = f"rule cannot be read: {error}; allowed: an RFC 5545 rule, e.g. FREQ=WEEKLY;BYDAY=FR,SA"
        raise ValueError(message) from error
    return bare, limits


def _split(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in text.strip().upper().removeprefix("RRULE:").rstrip(";").split(";"):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value or key in parts or (key == "INTERVAL" and not _counts(value)):
            message = f"rule cannot be read at '{part}'; allowed: an RFC 5545 rule, e.g. FREQ=WEEKLY;BYDAY=FR,SA"
            raise ValueError(message)
        parts[key] = value
    return parts


def _counts(value: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,5}", value) is not None


def _limits(count: str | None, until: str | None) -> _Limits:
    if count is not None and (until is not None or not _counts(count)):
        both = " and UNTIL" if until else ""
        message = f"rule has COUNT={count}{both}; allowed: a number of openings up to 999999, or UNTIL instead"
        raise ValueError(message)
    if count is not None:
        return _Limits(count=int(count))
    if until is None:
        return _Limits()
    if (match := _UNTIL.fullmatch(until)) is None:
        return _bad_until(until)
    try:
        day = datetime.strptime(match[1], "%Y%m%d")  # noqa: DTZ007 - local unless it ends in Z
        if match[2] is None:
            return _Limits(local_until=datetime.combine(day, time(23, 59, 59)))
        at = datetime.strptime(until.rstrip("Z"), "%Y%m%dT%H%M%S")  # noqa: DTZ007 - local unless it ends in Z
    except ValueError:
        return _bad_until(until)
    return _Limits(instant_until=at.replace(tzinfo=UTC)) if match[3] else _Limits(local_until=at)


def _bad_until(until: str) -> _Limits:
    message = f"rule has UNTIL={until}; allowed: 20271231 (that day included), 20271231T220000 (local) or 20271231T210000Z (UTC)"
    raise ValueError(message)
