"""`upkeep rehearse`: what faults would do to this fleet with this plan (issue 3; faults 28, 30, 34, 38, 40, 43, 56)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.rehearsal.fleets import TRIGGER, fleet, plan
from upkeep.domain.schedule import Schedule
from upkeep.rehearsal.faults import FAULTS
from upkeep.rehearsal.rehearse import Rehearsed, rehearse

PLAN = """
name: p
profile: ms-720
release: releases/2/release.json
targets: env=prod
"""
INVENTORY = "hosts:\n" + "".join(
    f"  h{n:02}: {{address: 192.0.2.{n}, labels: {{env: prod, zone: {'abc'[n % 3]}}}}}\n" for n in range(1, 31)
)


def row(fault: str, hosts: int = 40, **changes: object) -> Rehearsed:
    return rehearse(plan(**changes), fleet(hosts), faults=[fault]).faults[0]


def test_without_a_fault_every_host_gets_the_new_version_within_the_budget() -> None:
    done = row("none")
    assert (done.outcome, done.committed, done.broken) == ("succeeded", 40, 0)
    assert 1 <= done.most_down <= 4
    assert done.took.total_seconds() > 20 * 60


@pytest.mark.parametrize("fault", ["bad-release", "never-registers", "dies-in-soak"])
def test_a_bad_release_breaks_no_host_outside_the_canary_and_goes_back(fault: str) -> None:
    done = row(fault)
    assert (done.outcome, done.broken, done.rolled_back, done.committed) == ("rolled back", 3, 3, 0)
    assert done.not_started == 37


def test_a_canary_with_every_cohort_stops_a_release_that_is_bad_in_one() -> None:
    assert row("bad-on-one-cohort").outcome in {"stopped", "rolled back"}
    assert row("bad-on-one-cohort").broken == 1
    assert row("bad-on-one-cohort", stages=["100%"]).broken > 1


def test_a_killed_controller_leaves_one_host_that_went_back_or_none_and_the_rest_at_the_target() -> None:
    done = row("controller-killed")
    assert done.committed + done.rolled_back == 40
    assert done.committed >= 36
    assert done.not_started == done.flagged == 0


def test_metrics_are_rehearsed_where_the_plan_has_triggers() -> None:
    assert row("metrics-silent").outcome == "not rehearsed"
    assert row("metrics-silent", triggers=[TRIGGER]).outcome == "held"
    assert row("metrics-bad", triggers=[TRIGGER]).outcome == "rolled back"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("hosts", [1, 12])
def test_every_fault_ends_with_every_promise_kept_and_every_host_accounted_for(fault: str, hosts: int) -> None:
    done = row(fault, hosts, triggers=[TRIGGER])
    assert not done.promises_broken
    assert done.committed + done.rolled_back + done.flagged + done.not_started == hosts
    assert done.reason


def test_the_same_seed_gives_the_same_rehearsal_and_another_one_may_not() -> None:
    first, second = (rehearse(plan(), fleet(12), seed=5) for _ in range(2))
    assert first == second
    assert first != rehearse(plan(), fleet(12), seed=6)


def test_a_window_that_closes_stops_a_rehearsed_run_as_it_stops_a_real_one() -> None:
    opens = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
    window = {"zone": "UTC", "rule": "FREQ=DAILY", "start": "2026-11-20 21:00", "duration": "40m"}
    rehearsed = plan(window=window)
    schedule = Schedule(rehearsed.window)
    needs = timedelta(minutes=6)
    done = rehearse(
        rehearsed,
        fleet(40),
        faults=["none", "controller-killed"],
        begins=opens,
        may_start=lambda now: schedule.refusal(now, needs, needs),
    )
    for row in done.faults:
        assert row.outcome == "stopped", row
        assert "the window closes 2026-11-20 21:40 UTC" in row.reason or "no maintenance window is open" in row.reason
        assert 0 < row.committed < 40
        assert row.committed + row.not_started == 40
        assert not row.promises_broken


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "inventory.yaml").write_text(INVENTORY)
    return tmp_path


def upkeep(documents: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "upkeep"
    environment = {**os.environ, "UPKEEP_HOME": str(documents / "home")}
    return subprocess.run(
        [program, "rehearse", *words], cwd=documents, env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_prints_one_line_a_fault_and_opens_nothing(documents: Path) -> None:
    done = upkeep(documents, "plan.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines if line and line[0] in FAULTS] == list(FAULTS)
    assert "30 hosts" in done.stdout
    assert "at most 3 may be down at once" in done.stdout
    assert not (documents / "home").exists(), "no history is written"


def test_the_command_rehearses_in_the_next_window_and_refuses_where_a_calendar_cannot_be_read(documents: Path) -> None:
    window = "window={zone: UTC, rule: FREQ=DAILY, start: '2026-01-01 03:00', duration: 20m}"
    done = upkeep(documents, "plan.yaml", "--fault", "none", "--set", window)
    assert done.returncode == 0, done.stderr
    assert " 03:00 UTC, and its window closes " in done.stdout
    assert "stopped" in done.stdout
    refused = upkeep(documents, "plan.yaml", "--fault", "none", "--set", "freezes=gone.ics")
    assert (refused.returncode, "gone.ics: No such file" in refused.stderr) == (4, True)


def test_one_fault_as_json(documents: Path) -> None:
    done = upkeep(documents, "plan.yaml", "--fault", "bad-release", "--set", "down_budget_pct=50", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert (answer["hosts"], answer["down_allowed"]) == (30, 15)
    assert [(fault["fault"], fault["outcome"]) for fault in answer["faults"]] == [("bad-release", "rolled back")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan.yaml", "--fault", "earthquake"], ["earthquake", "bad-release", "rollback-fails"]),
        (["nowhere.yaml"], ["nowhere.yaml"]),
        (["plan.yaml", "-i", "nowhere.yaml"], ["nowhere.yaml"]),
        (["plan.yaml", "--set", "targets=env=nowhere"], ["targets matches no host", "env=nowhere"]),
        (["plan.yaml", "--set", "at_once=many"], ["at_once", "many"]),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_with_what_is_allowed(
    documents: Path, words: list[str], said: list[str]
) -> None:
    done = upkeep(documents, *words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert all(text in done.stderr for text in said), done.stderr
