"""`upkeep windows` and what `plan explain` says about windows, as people call them (issue 5: 3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.missed_starts import note_missed
from tests.unit.audit.conftest import run_record
from upkeep.audit.history import History
from upkeep.domain.record import RunRequest

EXAMPLES = Path(__file__).resolve().parents[2] / "deployments" / "examples"
PLAN = str(EXAMPLES / "plan-in-windows.yaml")
INVENTORY = ("-i", str(EXAMPLES / "inventory.yaml"))


@pytest.fixture
def upkeep(tmp_path: Path):
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        program = str(Path(sys.executable).parent / "upkeep")
        environment = {**os.environ, "UPKEEP_HOME": str(tmp_path)}
        return subprocess.run([program, *words], env=environment, capture_output=True, text=True, check=False)

    return run


def test_the_next_openings_are_told_in_the_windows_zone_and_in_utc_and_whether_the_plan_fits(upkeep) -> None:
    done = upkeep("windows", PLAN, *INVENTORY, "--count", "3")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("Opens ") and "22:00 CE" in line and " UTC)" in line]) == 3
    assert any(line.startswith(("Fits the window", "Does not fit the window")) for line in lines)
    assert "default: start timeout 60 s and healthy_deadline 5 min" in done.stdout
    explained = upkeep("plan", "explain", PLAN, *INVENTORY)
    assert any(
        line.startswith(("Fits the window", "Does not fit the window")) for line in explained.stdout.splitlines()
    )


def test_the_json_document_agrees_with_itself(upkeep) -> None:
    done = upkeep("windows", PLAN, *INVENTORY, "--count", "60", "--json")
    seen = json.loads(done.stdout)
    assert len(seen["next"]) == 60
    times = [(datetime.fromisoformat(o["opens_at"]), datetime.fromisoformat(o["closes_at"])) for o in seen["next"]]
    assert all(opens < closes for opens, closes in times)
    assert times == sorted(times)
    local = [datetime.fromisoformat(o["opens_local"]) for o in seen["next"]]
    assert {at.weekday() for at in local} <= {4, 5, 6, 0}, "Friday and Saturday, or the end of a freeze"
    for at in local:
        year_end = (at.month, at.day) >= (12, 14) or (at.month, at.day) < (1, 7)
        assert not year_end, "the year-end freeze of freezes.ics"


def test_a_window_that_cannot_be_used_is_bad_input_with_line_and_key(upkeep) -> None:
    done = upkeep("windows", PLAN, "--set", "window.rule=FREQ=HOURLY")
    assert done.returncode == 2
    assert "window.rule: rule repeats HOURLY" in done.stderr
    assert "allowed: FREQ=DAILY, WEEKLY, MONTHLY, YEARLY" in done.stderr


def test_a_plan_without_window_says_so_and_an_unreadable_calendar_is_closed(upkeep) -> None:
    assert "may run at any time" in upkeep("windows", str(EXAMPLES / "plan.yaml")).stdout
    gone = upkeep("windows", PLAN, "--set", "freezes=gone.ics")
    assert gone.returncode == 0
    assert "Closed now: a calendar cannot be read, which counts as closed: gone.ics" in gone.stdout


def test_missed_starts_are_listed_among_the_runs_with_reason_and_next_start(tmp_path: Path, upkeep) -> None:
    history = History.open(f"sqlite:///{tmp_path / 'history.db'}")
    history.open_run(run_record("20261120-200000-aaaa", started_at=datetime(2026, 11, 20, 20, tzinfo=UTC)))
    history.open_run(run_record("20261120-220000-bbbb", started_at=datetime(2026, 11, 20, 22, tzinfo=UTC)))
    planned = datetime(2026, 11, 20, 21, tzinfo=UTC)
    request = RunRequest(plan=PLAN, source="schedule", run_id="20261120-210000-cccc")
    note_missed(history, request, "maintenance", planned, "no worker took the flow run")
    history.close()
    listed = json.loads(upkeep("history", "list", "--json").stdout)
    assert [entry["id"][-4:] for entry in listed] == ["bbbb", "cccc", "aaaa"]
    assert (listed[1]["outcome"], listed[1]["planned"]) == ("missed", "2026-11-20T21:00:00Z")
    assert " 22:00 CE" in listed[1]["next"]
    shown = upkeep("history", "list").stdout
    assert "missed" in shown
    assert "no worker took the flow run; next start: " in shown
    assert len(json.loads(upkeep("history", "list", "--json", "--limit", "1").stdout)) == 1


def test_a_plan_with_a_schedule_says_whether_it_starts_by_itself(tmp_path: Path, upkeep) -> None:
    plans = tmp_path / "plans"
    plans.mkdir()
    text = Path(PLAN).read_text().replace("targets:", "schedule: maintenance\ntargets:").split("freezes:")[0]
    for folder in (plans, tmp_path):
        (folder / "nights.yaml").write_text(text)
    assert (
        "Starts maintenance by itself whenever its window opens."
        in upkeep("windows", str(plans / "nights.yaml")).stdout
    )
    elsewhere = upkeep("windows", str(tmp_path / "nights.yaml")).stdout
    assert f"does not start by itself where it is: put it into {plans}" in elsewhere
