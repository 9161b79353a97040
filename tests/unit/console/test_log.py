"""Structured logs (D10)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.audit.conftest import run_record
from upkeep.console.log import OWN, EventLog, log_as_json
from upkeep.domain.change import RunOutcome, Step
from upkeep.domain.record import Actor, Event, Happening
from upkeep.settings import Settings
from upkeep.wiring import Site


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Logging as it was before the test."""
    every = [logging.getLogger(name) for name in ("", *OWN)]
    before = [(logger.handlers, logger.propagate) for logger in every]
    yield every[0]
    for logger, (handlers, propagate) in zip(every, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
    logging.captureWarnings(capture=False)


def test_every_event_is_one_json_line_with_time_level_service_and_trace_id() -> None:
    stream = io.StringIO()
    at = datetime(2026, 11, 21, tzinfo=UTC)
    event = Event(
        seq=1,
        at=at,
        run="r1",
        actor=Actor(name="a"),
        action="step.backup",
        happening=Happening.FAILED,
        host="h1",
        step=Step.BACKUP,
        reason="a\nb",
    )
    EventLog(stream)(event)
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue()) == {
        "event": "step.backup",
        "timestamp": at.isoformat(),
        "level": "error",
        "service": "upkeep",
        "trace_id": "r1",
        "happening": "failed",
        "host": "h1",
        "step": "backup",
        "reason": "a\nb",
    }


def test_whatever_process_opens_the_history_logs_events_and_records_as_json_with_the_runs_trace_id(
    root: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"UPKEEP_HOME": str(tmp_path), "UPKEEP_LOG": "json"}
    site = Site(Settings.from_environment(environ), environ)
    logging.getLogger("upkeep.x").warning("before %s", "any run")
    site.history.open_run(run_record("r1"))
    with site.history.step("r1", "web-01", Step.CHECK):
        try:
            int("no such thing")
        except ValueError:
            logging.getLogger("upkeep.y").exception("two\nlines")
    site.history.close_run("r1", RunOutcome.SUCCEEDED, "")
    site.checkpoints.close()
    site.history.close()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [(line["event"], line["level"], line["trace_id"]) for line in lines]
    assert told == [
        ("before any run", "warning", ""),
        ("run.opened", "info", "r1"),
        ("step.check", "info", "r1"),
        ("two\nlines", "error", "r1"),
        ("step.check", "info", "r1"),
        ("run.closed", "info", "r1"),
    ]
    assert "no such thing" in lines[3]["exception"]


def test_a_process_that_works_for_several_runs_claims_none_of_them_for_what_it_logs(root: logging.Logger) -> None:
    stream = io.StringIO()
    events = log_as_json(stream)
    for run in ("r1", "r2"):
        facts = {"seq": 1, "at": datetime.now(UTC), "run": run, "actor": Actor(name="a"), "happening": Happening.NOTE}
        events(Event.model_validate(facts | {"action": "run.opened"}))
    root.handlers = []  # as Prefect does when a flow run begins
    logging.getLogger("tasks.x").warning("which?")
    assert [json.loads(line)["trace_id"] for line in stream.getvalue().splitlines()] == ["r1", "r2", ""]
