"""Windows at the start of a run and before every host; a start that was missed is never made up for (issue 5: 3; fault 45)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.conduct import engine_of
from tasks import may_start
from tasks.keep_windows import WindowKeeper, refuse_outside_window
from tasks.missed_starts import as_planned
from tests.unit.audit.conftest import run_record
from upkeep.audit.history import History
from upkeep.domain.change import Step
from upkeep.domain.plan import Plan
from upkeep.domain.record import RunRequest
from upkeep.errors import BadInput, Refused, StepFailed

FRIDAY = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
NIGHT = {"zone": "Europe/Berlin", "rule": "FREQ=WEEKLY;BYDAY=FR", "start": "2026-11-20 22:00", "duration": "6h"}


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History.open(f"sqlite:///{tmp_path / 'history.db'}")
    yield opened
    opened.close()


def record(tmp_path: Path, *, run_id: str = "r1", plan: dict | None = None, **changes: object):  # type: ignore[type-arg]
    made = Plan.model_validate({"name": "night", "profile": "x", "release": "r", "window": NIGHT, **(plan or {})})
    hosts = [{"name": f"h{n}", "address": f"10.0.0.{n}"} for n in range(1, 8)]
    return run_record(run_id, plan=made, plan_dir=str(tmp_path), targets=hosts, **changes)


def refusal(history: History, made, now: datetime) -> str:
    with pytest.raises(Refused) as error:
        refuse_outside_window(SimpleNamespace(history=history), made, now)  # type: ignore[arg-type]
    assert error.value.exit_code == 4
    return str(error.value)


def test_a_run_begins_inside_its_window_and_is_refused_outside_with_the_next_opening(history, tmp_path) -> None:
    made = record(tmp_path)
    refuse_outside_window(SimpleNamespace(history=history), made, FRIDAY)  # type: ignore[arg-type]
    text = refusal(history, made, FRIDAY - timedelta(minutes=1))
    assert "opens Fri 2026-11-20 22:00 CET (2026-11-20 21:00 UTC)" in text
    assert "upkeep windows" in text
    late = refusal(history, made, FRIDAY + timedelta(hours=5, minutes=55))
    assert "a host needs 6 min and 3 min to go back" in late


@pytest.mark.parametrize(
    "changes", [{"dry_run": True}, {"runbook": "rollback"}, {"runbook": "backup"}, {"runbook": "pre_update_check"}]
)
def test_dry_runs_checks_backups_and_the_way_back_are_bound_by_no_window(history, tmp_path, changes) -> None:
    made = record(tmp_path, plan={"freezes": "gone.ics"}, **changes)
    refuse_outside_window(SimpleNamespace(history=history), made, FRIDAY - timedelta(days=1))  # type: ignore[arg-type]
    assert WindowKeeper(history, made).may_start(FRIDAY - timedelta(days=1)) == ""


def test_a_freeze_or_an_unreadable_calendar_refuses_a_run_by_hand_inside_its_window(history, tmp_path) -> None:
    assert "gone.ics: No such file" in refusal(history, record(tmp_path, plan={"freezes": "gone.ics"}), FRIDAY)
    event = "BEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Sale\r\nDTSTART:20261120T000000Z\r\nDURATION:P2D\r\nEND:VEVENT\r\n"
    (tmp_path / "f.ics").write_text(f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{event}END:VCALENDAR\r\n")
    made = record(tmp_path, plan={"freezes": "f.ics"})
    assert "'Sale' of f.ics" in refusal(history, made, FRIDAY)
    overridden = made.model_copy(update={"override": "the vendor insists"})
    refuse_outside_window(SimpleNamespace(history=history), overridden, FRIDAY)  # type: ignore[arg-type]
    assert WindowKeeper(history, overridden).may_start(FRIDAY) == "", "its approval is another keeper's matter"


def test_a_plan_without_window_starts_at_any_time_and_asks_nothing(history, tmp_path) -> None:
    made = record(tmp_path, plan={"window": []})
    assert WindowKeeper(history, made).may_start(FRIDAY - timedelta(days=1)) == ""


def test_what_hosts_took_is_measured_from_lock_to_commit_and_counts_only_when_it_succeeded(history, tmp_path) -> None:
    history.open_run(record(tmp_path))
    for host in ("h1", "h2"):
        for step in (Step.LOCK, Step.BACKUP, Step.COMMIT, Step.UNLOCK):
            with history.step("r1", host, step):
                pass
    with history.step("r1", "h3", Step.LOCK):
        pass
    with history.step("r1", "h3", Step.ROLLBACK):
        pass
    with pytest.raises((BadInput, StepFailed)), history.step("r1", "h4", Step.ROLLBACK):
        raise BadInput("it did not work")
    with history.step("r1", "h5", Step.LOCK), history.step("r1", "h5", Step.COMMIT):
        pass
    found = history.step_times({"maintenance"}, {"h1", "h3", "h4", "h5"})
    assert (len(found.changes), len(found.rollbacks)) == (2, 1)
    steps = {step.step: step for step in history.steps("r1", "h1")}
    assert steps[Step.COMMIT].ended_at is not None
    assert found.changes[0] == steps[Step.COMMIT].ended_at - steps[Step.LOCK].intent_at
    assert history.step_times({"backup"}, {"h1"}).changes == ()


def test_both_a_new_and_a_resumed_engine_ask_before_a_host_by_the_time_of_day(history, tmp_path, monkeypatch) -> None:
    made = record(tmp_path)
    session = SimpleNamespace(record=made, history=history, left=None)
    monkeypatch.setattr(may_start, "wall_now", lambda: FRIDAY - timedelta(days=1))
    assert "opens Fri" in engine_of(session).may_start(FRIDAY)  # type: ignore[arg-type]
    monkeypatch.setattr(may_start, "wall_now", lambda: FRIDAY)
    assert engine_of(session).may_start(FRIDAY - timedelta(days=1)) == ""  # type: ignore[arg-type]


def schedule(history: History, late: timedelta, runbook: str = "maintenance", **changes: object) -> None:
    request = RunRequest.model_validate({"plan": "night.yaml", "source": "schedule", **changes})
    with as_planned(SimpleNamespace(history=history), runbook, request, FRIDAY, FRIDAY + late):  # type: ignore[arg-type]
        pass


def test_a_scheduled_start_more_than_a_minute_late_is_recorded_and_refused(history) -> None:
    with pytest.raises(Refused, match=r"planned for 2026-11-20 21:00:00 UTC .* 61 s later") as error:
        schedule(history, timedelta(seconds=61))
    assert error.value.exit_code == 4
    event = history.events("missed-20261120-210000")[0]
    assert (event.action, event.body["plan"], event.body["late_seconds"]) == ("run.missed", "night.yaml", 61)
    assert "missed, not made up for" in event.reason
    assert history.runs() == [], "no run was opened"
    assert history.verify().ok


def test_a_missed_start_is_written_once_however_often_it_is_tried(history) -> None:
    for seconds in (61, 90, 3600):
        with pytest.raises(Refused):
            schedule(history, timedelta(seconds=seconds), run_id="20261120-210000-abc123")
    assert len(history.events("missed-20261120-210000-abc123")) == 1


def test_a_scheduled_start_within_a_minute_and_every_start_by_hand_is_not_missed(history) -> None:
    schedule(history, timedelta(seconds=60))
    schedule(history, timedelta(hours=9), source="cli")
    schedule(history, timedelta(hours=9), dry_run=True)
    schedule(history, timedelta(hours=9), runbook="pre_update_check")
    assert history.missed_starts() == []


def test_a_scheduled_run_that_is_refused_at_its_start_is_missed_with_that_reason(history) -> None:
    request = RunRequest(plan="night.yaml", source="schedule", run_id="20261120-210000-abc123")
    site = SimpleNamespace(history=history)
    with pytest.raises(Refused), as_planned(site, "maintenance", request, FRIDAY, FRIDAY):  # type: ignore[arg-type]
        raise Refused("a freeze holds until Monday")
    missed = history.missed_starts()
    assert [(start.plan, start.planned, start.reason) for start in missed] == [
        ("night.yaml", FRIDAY, "a freeze holds until Monday")
    ]


@pytest.mark.parametrize("source", ["cli", "ui", "schedule", "webhook"])
def test_a_freeze_binds_a_run_whoever_started_it(history, tmp_path, source) -> None:
    assert "gone.ics" in refusal(history, record(tmp_path, plan={"freezes": "gone.ics"}, source=source), FRIDAY)


def test_archives_come_in_the_window_or_at_any_time_if_the_plan_says_so_but_never_in_a_freeze(
    history, tmp_path
) -> None:
    before = FRIDAY - timedelta(days=1)
    kept = record(tmp_path, runbook="prestage")
    assert "delivery.prestage: any time" in refusal(history, kept, before)
    assert WindowKeeper(history, kept).may_start(FRIDAY) == ""
    assert WindowKeeper(history, kept).may_start(FRIDAY + timedelta(hours=5, minutes=50)), "15 min may be needed"
    free = record(tmp_path, runbook="prestage", plan={"delivery": {"prestage": "any time"}})
    refuse_outside_window(SimpleNamespace(history=history), free, before)  # type: ignore[arg-type]
    assert WindowKeeper(history, free).may_start(before) == ""
    frozen = record(tmp_path, runbook="prestage", plan={"delivery": {"prestage": "any time"}, "freezes": "gone.ics"})
    assert "gone.ics" in refusal(history, frozen, before)
    changed = record(tmp_path, plan={"delivery": {"prestage": "any time"}})
    assert refusal(history, changed, before), "the change itself keeps its window"
