"""Structured logs (D10): every event of a run as one JSON line with timestamp, level, service and trace id (the run's id)."""

from __future__ import annotations

import sys
from typing import TextIO

import structlog

from upkeep.domain.record import Event, Happening

_LEVELS = {Happening.FAILED: "error", Happening.UNKNOWN: "warning"}


class EventLog:
    """A listener of the history that writes JSON lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._log = structlog.wrap_logger(
            structlog.PrintLogger(stream or sys.stderr),
            processors=[structlog.processors.JSONRenderer(sort_keys=False)],
        )

    def __call__(self, event: Event) -> None:
        """Write one event."""
        facts = {"host": event.host, "stage": event.stage, "step": event.step, "reason": event.reason}
        self._log.msg(
            event.action,
            timestamp=event.at.isoformat(),
            level=_LEVELS.get(event.happening, "info"),
            service="upkeep",
            trace_id=event.run,
            happening=event.happening,
            **{key: value for key, value in facts.items() if value},
        )
