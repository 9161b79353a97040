"""Windows as people write them: rules, zones, clocks that are put forward and back (issue 5: 3; fault 59)."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from upkeep.domain.local_time import instant, zone_of
from upkeep.domain.schedule import Freeze, Schedule
from upkeep.domain.window import Window, starts

FRIDAY_NIGHT = {"zone": "Europe/Berlin", "rule": "FREQ=WEEKLY;BYDAY=FR", "start": "2026-11-20 22:00", "duration": "6h"}


def window(**changes: object) -> Window:
    return Window.model_validate(FRIDAY_NIGHT | changes)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def opened(made: Window, since: datetime, days: int) -> list[datetime]:
    return list(starts(made, since, since + timedelta(days=days)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"rule": "FREQ=HOURLY"},
            "rule repeats HOURLY, which windows do not; allowed: FREQ=DAILY, WEEKLY, MONTHLY, YEARLY",
        ),
        ({"rule": "FREQ=SECONDLY;INTERVAL=86400"}, "rule repeats SECONDLY"),
        ({"rule": "FREQ=DAILY;BYHOUR=1,2,3"}, "rule has BYHOUR: the time of day is start's; allowed: FREQ"),
        ({"rule": "INTERVAL=2"}, "rule repeats without FREQ"),
        ({"rule": "every friday"}, "rule cannot be read at 'EVERY FRIDAY'; allowed: an RFC 5545 rule"),
        ({"rule": "FREQ=WEEKLY;BYDAY=XX"}, "rule cannot be read: invalid 'BYDAY': XX"),
        ({"rule": "FREQ=DAILY;INTERVAL=0"}, "rule cannot be read at 'INTERVAL=0'"),
        ({"rule": "FREQ=DAILY;COUNT=3;UNTIL=20271231"}, "rule has COUNT=3 and UNTIL"),
        ({"rule": "FREQ=DAILY;UNTIL=20271301"}, "rule has UNTIL=20271301; allowed: 20271231"),
        ({"rule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}, "rule never opens after start"),
        ({"rule": "FREQ=DAILY;UNTIL=20200101"}, "rule never opens after start"),
        ({"zone": "Europe/Berln"}, "did you mean 'Europe/Berlin'?"),
        ({"zone": "../../etc/passwd"}, "there is no time zone"),
        ({"start": "2026-11-20T22:00Z"}, "without offset"),
        ({"start": "tonight"}, "is not a local date and time"),
        ({"start": "0001-01-01 00:00"}, "from 2000 to 2199"),
        ({"duration": "0s"}, "duration must be more than 0 s"),
        ({"cutoff": "6h"}, "cutoff (6 h) must be shorter than duration (6 h)"),
    ],
)
def test_a_window_that_cannot_be_used_says_what_is_wrong_and_what_is_allowed(changes, says) -> None:
    with pytest.raises(ValidationError) as error:
        window(**changes)
    assert says in str(error.value)


def test_a_rule_that_never_matches_is_refused_in_less_than_a_second() -> None:
    begun = time.process_time()
    with pytest.raises(ValidationError):
        window(rule="FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", start="2026-11-20 22:00")
    assert time.process_time() - begun < 1


def test_friday_night_holds_saturday_one_o_clock() -> None:
    night = Schedule((window(),))
    assert night.decide(utc(2026, 11, 21, 0, 0)).open
    assert night.decide(utc(2026, 11, 20, 21, 0)).open
    assert not night.decide(utc(2026, 11, 20, 20, 59, 59)).open
    assert not night.decide(utc(2026, 11, 21, 3, 0)).open
    assert not night.decide(utc(2026, 11, 20, 0, 0)).open, "Friday 01:00 belongs to Thursday"


def test_a_start_that_clocks_skip_is_the_first_instant_after_the_gap() -> None:
    nightly = window(rule="FREQ=DAILY", start="2027-03-27 02:30", duration="4h")
    assert opened(nightly, utc(2027, 3, 27), 3) == [
        utc(2027, 3, 27, 1, 30),
        utc(2027, 3, 28, 1, 0),
        utc(2027, 3, 29, 0, 30),
    ]


def test_a_start_that_clocks_show_twice_is_the_first_of_the_two() -> None:
    nightly = window(rule="FREQ=DAILY", start="2027-10-30 02:30", duration="1h")
    assert opened(nightly, utc(2027, 10, 30), 3)[1] == utc(2027, 10, 31, 0, 30)


@pytest.mark.parametrize(
    ("day", "closes_local"), [("2027-03-27", "05:00"), ("2027-10-30", "03:00"), ("2027-07-01", "04:00")]
)
def test_a_window_over_a_change_of_clocks_lasts_its_real_hours(day: str, closes_local: str) -> None:
    night = Schedule((window(rule="FREQ=DAILY", start=f"{day} 22:00"),))
    opens = instant(datetime.fromisoformat(f"{day} 22:00"), zone_of("Europe/Berlin"))
    closes = night.decide(opens).closes_at
    assert closes is not None
    assert closes - opens == timedelta(hours=6)
    assert f"{closes.astimezone(night.zone):%H:%M}" == closes_local


def test_a_day_that_a_zone_skipped_whole_opens_at_its_end() -> None:
    assert instant(datetime(2011, 12, 30, 12, 0), zone_of("Pacific/Apia")) == utc(2011, 12, 30, 10, 0)  # noqa: DTZ001


def test_a_window_on_leap_day_is_found_years_ahead() -> None:
    leap = Schedule((window(rule="FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", start="2024-02-29 22:00", zone="UTC"),))
    assert leap.decide(utc(2026, 11, 21)).next_opening == utc(2028, 2, 29, 22)
    assert leap.decide(utc(2028, 3, 1, 4)).next_opening == utc(2032, 2, 29, 22)
    assert leap.decide(utc(2028, 3, 1, 3)).open


def test_a_yearly_window_that_starts_on_leap_day_opens_in_leap_years_only() -> None:
    yearly = window(rule="FREQ=YEARLY", start="2024-02-29 22:00", zone="UTC")
    assert [at.year for at in opened(yearly, utc(2024, 1, 1), 3000)] == [2024, 2028, 2032]


def test_a_window_of_a_year_and_windows_that_touch_are_one_opening() -> None:
    year = Schedule((window(rule="FREQ=YEARLY", start="2026-01-01 00:00", duration="366d", zone="UTC"),))
    assert year.decide(utc(2026, 12, 31, 23, 59)).open
    assert year.decide(utc(2026, 7, 1)).closes_at is None, "it opens anew before it closes"
    days = Schedule(
        (
            window(rule="FREQ=DAILY;COUNT=3", start="2026-11-20 00:00", duration="24h", zone="UTC", cutoff="1h"),
            window(rule="FREQ=DAILY;COUNT=1", start="2026-11-23 00:00", duration="2h", zone="UTC", cutoff="30m"),
        )
    )
    standing = days.decide(utc(2026, 11, 20, 23, 30))
    assert (standing.closes_at, standing.cutoff_at) == (utc(2026, 11, 23, 2), utc(2026, 11, 23, 1, 30))


def test_until_is_kept_in_local_time_and_in_utc() -> None:
    def last(until: str) -> datetime:
        return opened(window(rule=f"FREQ=DAILY;UNTIL={until}"), utc(2026, 11, 1), 60)[-1]

    assert last("20261125") == utc(2026, 11, 25, 21)
    assert last("20261125T215900") == utc(2026, 11, 24, 21)
    assert last("20261125T210000Z") == utc(2026, 11, 25, 21)
    assert last("20261125T205959Z") == utc(2026, 11, 24, 21)


def test_count_counts_from_the_start() -> None:
    assert opened(window(rule="RRULE:FREQ=DAILY;INTERVAL=2;COUNT=2"), utc(2026, 11, 1), 60) == [
        utc(2026, 11, 20, 21),
        utc(2026, 11, 22, 21),
    ]


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]
LOCAL = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1))  # noqa: DTZ001 - local times


@settings(max_examples=300, deadline=None)
@given(zone=st.sampled_from(ZONES), local=LOCAL.map(lambda at: at.replace(microsecond=0)))
def test_a_local_time_that_exists_is_read_back_and_one_that_does_not_is_the_end_of_its_gap(zone, local) -> None:
    at = instant(local, zone_of(zone))
    shown = at.astimezone(zone_of(zone)).replace(tzinfo=None)
    if shown == local:
        earlier = (at - timedelta(hours=1)).astimezone(zone_of(zone)).replace(tzinfo=None)
        half = (at - timedelta(minutes=30)).astimezone(zone_of(zone)).replace(tzinfo=None)
        assert local not in {earlier, half}, "an earlier instant shows the same time"
        return
    before = (at - timedelta(seconds=1)).astimezone(zone_of(zone)).replace(tzinfo=None)
    assert before < local < shown, "the gap lies around the time that was asked for"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("hour", range(4))
def test_around_every_change_of_clocks_a_nightly_window_opens_once_a_day_and_lasts_its_hours(
    zone: str, hour: int
) -> None:
    for minute in (0, 30):
        nightly = window(zone=zone, rule="FREQ=DAILY", start=f"2025-01-01 0{hour}:{minute:02}", duration="3h")
        found = opened(nightly, utc(2026, 1, 1), 365)
        assert len({at.astimezone(zone_of(zone)).date() for at in found}) == len(found)
        assert len(found) in {365, 366}
        steps = {later - earlier for earlier, later in itertools.pairwise(found)}
        assert steps <= {timedelta(hours=24) + timedelta(minutes=m) for m in range(-60, 61)}
        schedule = Schedule((nightly,))
        for at in found[::60]:
            assert schedule.decide(at).closes_at == at + timedelta(hours=3)


def test_the_gap_of_half_an_hour_at_lord_howe_is_seen() -> None:
    nightly = window(zone="Australia/Lord_Howe", rule="FREQ=DAILY", start="2026-10-03 02:15", duration="1h")
    assert opened(nightly, utc(2026, 10, 2, 12), 2) == [utc(2026, 10, 2, 15, 45), utc(2026, 10, 3, 15, 30)]


HOURS = st.integers(0, 24 * 60)
FREEZES = st.lists(st.tuples(HOURS, st.integers(1, 200)), max_size=6)
BASE = utc(2027, 3, 1)
WINDOWS = st.lists(
    st.builds(
        lambda rule, hour, hours, cutoff, zone: window(
            rule=rule,
            start=f"2027-01-01 {hour:02}:30",
            duration=f"{hours}h",
            cutoff=f"{min(cutoff, hours * 60 - 1)}m",
            zone=zone,
        ),
        st.sampled_from(
            ["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=FR,SA", "FREQ=MONTHLY;BYDAY=2SA", "FREQ=DAILY;INTERVAL=3;COUNT=60"]
        ),
        st.integers(0, 23),
        st.integers(1, 40),
        st.integers(0, 120),
        st.sampled_from(ZONES),
    ),
    max_size=3,
)


def frozen(raw: list[tuple[int, int]]) -> tuple[Freeze, ...]:
    return tuple(Freeze(BASE + timedelta(hours=h), BASE + timedelta(hours=h + long), "f", "c") for h, long in raw)


@settings(max_examples=60, deadline=None)
@given(windows=WINDOWS, raw=FREEZES, minutes=st.integers(0, 60 * 24 * 60))
def test_whatever_the_windows_nothing_is_open_inside_a_freeze(windows, raw, minutes) -> None:
    schedule = Schedule(tuple(windows), frozen(raw))
    now = BASE + timedelta(minutes=minutes)
    standing = schedule.decide(now)
    held = [f for f in schedule.freezes if f.start <= now < f.end]
    in_window = not windows or any(
        at <= now < at + w.duration for w in windows for at in starts(w, now - w.duration, now)
    )
    assert standing.open == (in_window and not held)
    for span in schedule.openings(now, 5):
        assert not any(f.start < (span.end or f.end) and f.end > max(span.start, now) for f in schedule.freezes)


@settings(max_examples=60, deadline=None)
@given(windows=WINDOWS, raw=FREEZES, minutes=st.integers(0, 60 * 24 * 60))
def test_it_is_open_at_the_next_opening_and_closed_when_it_closes_and_nowhere_open_between(
    windows, raw, minutes
) -> None:
    schedule, second = Schedule(tuple(windows), frozen(raw)), timedelta(seconds=1)
    now = BASE + timedelta(minutes=minutes)
    standing = schedule.decide(now)
    if standing.next_opening is not None:
        assert schedule.decide(standing.next_opening).open
        assert not schedule.decide(standing.next_opening - second).open
        if not standing.open:
            middle = now + (standing.next_opening - now) / 2
            assert not schedule.decide(middle).open
            assert schedule.decide(middle).next_opening == standing.next_opening
    if standing.closes_at is not None:
        assert not schedule.decide(standing.closes_at).open
        assert schedule.decide(standing.closes_at - second).open


@settings(max_examples=60, deadline=None)
@given(
    windows=WINDOWS,
    raw=FREEZES,
    minutes=st.integers(0, 60 * 24 * 60),
    needs=st.tuples(HOURS, HOURS),
    more=st.integers(0, 90),
)
def test_more_cutoff_and_more_time_needed_never_let_a_host_start_that_may_not_start_with_less(
    windows, raw, minutes, needs, more
) -> None:
    schedule, now = Schedule(tuple(windows), frozen(raw)), BASE + timedelta(minutes=minutes)
    change, back = (timedelta(minutes=m / 8) for m in needs)
    standing = schedule.decide(now)
    if standing.cutoff_at is not None:
        assert standing.closes_at is not None
        assert standing.cutoff_at <= standing.closes_at
    if schedule.fits(now, change, back):
        assert standing.open
        assert standing.closes_at is None or now + change + back <= standing.closes_at
        assert schedule.fits(now, change / 2, back)
    longer = tuple(
        w.model_copy(update={"cutoff": min(w.cutoff + timedelta(minutes=more), w.duration - timedelta(seconds=1))})
        for w in windows
    )
    if Schedule(longer, schedule.freezes).fits(now, change, back):
        assert schedule.fits(now, change, back)


def test_a_calendar_that_cannot_be_read_counts_as_closed_and_says_why() -> None:
    schedule = Schedule((window(),), unreadable=("holidays.ics: No such file or directory",))
    standing = schedule.decide(utc(2026, 11, 21, 0, 0))
    assert not standing.open
    assert "holidays.ics: No such file or directory" in standing.reason
    assert schedule.refusal(utc(2026, 11, 21, 0, 0)) == standing.reason
    assert schedule.openings(utc(2026, 11, 21), 3) == []


def test_a_refusal_names_window_cutoff_freeze_and_when_it_opens_again() -> None:
    night = Schedule((window(cutoff="1h"),))
    soon = night.refusal(utc(2026, 11, 21, 2, 0))
    assert "starts no host after Sat 2026-11-21 03:00 CET" in soon
    assert "opens next Fri 2026-11-27 22:00 CET (2026-11-27 21:00 UTC)" in soon
    long = night.refusal(utc(2026, 11, 21, 1, 30), timedelta(hours=1), timedelta(minutes=31))
    assert "in 90 min, and a host needs 1 h and 31 min to go back" in long.replace("1 h 30 min", "90 min")
    assert night.refusal(utc(2026, 11, 21, 1, 30), timedelta(hours=1), timedelta(minutes=30)) == ""
    holiday = Freeze(utc(2026, 11, 20), utc(2026, 11, 28, 12), "Black Friday", "freezes.ics")
    frozen_night = Schedule((window(),), (holiday,))
    assert "freeze holds until Sat 2026-11-28 13:00 CET (2026-11-28 12:00 UTC): 'Black Friday' of freezes.ics" in (
        frozen_night.refusal(utc(2026, 11, 21))
    )
    assert frozen_night.decide(utc(2026, 11, 21)).next_opening == utc(2026, 12, 4, 21)
