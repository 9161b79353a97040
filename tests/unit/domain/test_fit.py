"""How long a host and a run take, and whether that fits a window (issue 5: 3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.audit.conftest import run_record
from upkeep.domain.fit import Needs, fit, fit_sentence
from upkeep.domain.host_time import host_time
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.schedule import Schedule
from upkeep.domain.stages import Candidate, plan_stages

PROFILE = run_record().profile
NOW = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
NIGHT = {"zone": "UTC", "rule": "FREQ=DAILY", "start": "2026-11-20 21:00", "duration": "4h"}


def plan(**changes: object) -> Plan:
    return Plan.model_validate({"name": "p", "profile": "x", "release": "r.json", "window": NIGHT, **changes})


def seconds(*values: float) -> list[timedelta]:
    return [timedelta(seconds=value) for value in values]


def test_without_measurements_the_plans_own_limits_are_kept_free() -> None:
    time = host_time(plan(), PROFILE, seconds(1, 2, 3, 4))
    assert time.change == timedelta(minutes=6)
    assert time.rollback == timedelta(minutes=3)
    assert "default: start timeout 60 s and healthy_deadline 5 min" in time.change_source


def test_the_slowest_twentieth_of_what_was_measured_is_left_out() -> None:
    hundred = seconds(*[100.0] * 95, *[900.0] * 5)
    time = host_time(plan(), PROFILE, hundred, hundred[:20])
    assert (time.change, time.rollback) == (timedelta(seconds=100), timedelta(seconds=100))
    assert time.change_source == "95 % of 100 measured took no longer"
    assert host_time(plan(), PROFILE, hundred[1:]).change == timedelta(seconds=900)


@given(st.lists(st.integers(1, 5000), min_size=5, max_size=60), st.integers(1, 5000))
def test_at_least_the_healthy_time_is_kept_free_and_at_most_a_twentieth_took_longer(measured, one) -> None:
    time = host_time(plan(), PROFILE, seconds(*measured))
    assert time.change >= timedelta(seconds=60)
    assert sum(timedelta(seconds=value) > time.change for value in measured) <= len(measured) * 0.05
    more = host_time(plan(), PROFILE, seconds(*(value + one for value in measured)))
    assert more.change >= time.change


def needs(made: Plan, size: int) -> Needs:
    hosts = [Candidate(Host(name=f"h{n:03}", address=f"10.0.0.{n}"), "c") for n in range(1, size + 1)]
    return Needs.of(made, plan_stages(made, hosts), size, host_time(made, PROFILE))


def test_a_plan_says_how_much_time_is_to_spare_or_lacking() -> None:
    made = plan()  # 40 hosts, 4 at once: 1 + 2 + 8 turns of 6 min, 20 min of soak, 3 min for a last rollback
    assert needs(made, 40).whole == timedelta(minutes=11 * 6 + 20 + 3)
    text = fit_sentence(Schedule(made.window), NOW, needs(made, 40))
    assert (
        text
        == "Fits the window open now with 2 h 31 min to spare: it takes about 1 h 29 min, a last rollback included."
    )
    late = fit_sentence(Schedule(made.window), NOW + timedelta(hours=3), needs(made, 40))
    assert late.startswith("Does not fit the window open now: it takes about 1 h 29 min")
    assert "29 min are lacking" in late
    day = fit_sentence(Schedule(made.window), NOW + timedelta(hours=10), needs(made, 40))
    assert day.startswith("Fits the window that opens 2026-11-21 21:00 UTC with 2 h 31 min to spare")


def test_a_long_cutoff_counts_against_the_last_host() -> None:
    made = plan(window={**NIGHT, "cutoff": "3h"})
    schedule = Schedule(made.window)
    found = fit(schedule.openings(NOW, 1)[0], NOW, needs(made, 40))
    assert not found.fits
    assert found.spare == timedelta(hours=1) - needs(made, 40).last_begins


def test_a_plan_without_window_may_run_at_any_time() -> None:
    assert "at any time" in fit_sentence(Schedule(), NOW, needs(plan(window=()), 4))
    assert "cannot be read" in fit_sentence(Schedule(unreadable=("x.ics: gone",)), NOW, needs(plan(), 4))
