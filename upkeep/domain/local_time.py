"""Local wall-clock times as instants, also where a clock is put forward or back."""

from __future__ import annotations

import difflib
import functools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones


@functools.lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """The IANA zone of this name.

    Raises:
        ValueError: there is none.
    """
    if name in available_timezones():
        return ZoneInfo(name)
    guess = next(iter(difflib.get_close_matches(name, sorted(available_timezones()), n=1)), "")
    hint = f", did you mean '{guess}'?" if guess else ""
    message = f"there is no time zone '{name}'{hint}; allowed: an IANA zone, e.g. Europe/Berlin or UTC"
    raise ValueError(message)


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which clocks in `zone` show `local`.

    A time that clocks skip is the first instant after the gap; a time that they show twice is the first of the two.
    """
    first = local.replace(tzinfo=zone, fold=0)
    at = first.astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == local:
        return at
    return _end_of_gap(local.replace(tzinfo=zone, fold=1).astimezone(UTC), at, zone)


def _end_of_gap(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant in (before, after] at which the zone's offset changes, to the second."""
    old = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after
