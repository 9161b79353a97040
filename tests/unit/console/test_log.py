"""Structured logs (D10)."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

from upkeep.console.log import EventLog
from upkeep.domain.change import Step
from upkeep.domain.record import Actor, Event, Happening


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
