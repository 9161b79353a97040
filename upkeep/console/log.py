"""Structured logs (D10): every event and every log record as one JSON line with timestamp, level, service and trace id (the run's id)."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import structlog

from upkeep.domain.record import Event, Happening

WANTED = "UPKEEP_LOG"
"""The variable that is `json` where logs are read by a program."""
OWN = ("upkeep", "tasks", "flows")
"""Loggers that keep their handler when Prefect sets up the root's for a flow run."""
_RENDERER = structlog.processors.JSONRenderer(sort_keys=False)
_LEVELS = {Happening.FAILED: "error", Happening.UNKNOWN: "warning"}


class EventLog:
    """A listener of the history that writes JSON lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._log = structlog.wrap_logger(
            structlog.PrintLogger(stream or sys.stderr),
            processors=[_RENDERER],
        )
        self._open: set[str] = set()

    @property
    def trace_id(self) -> str:
        """The run that this process works for; empty where it works for none, or for several."""
        return next(iter(self._open)) if len(self._open) == 1 else ""

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if event.action == "run.closed":
            self._open.discard(event.run)
        elif event.step or event.action in {"run.opened", "run.resumed"}:
            self._open.add(event.run)
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


class JsonRecords(logging.Formatter):
    """What Upkeep and its libraries log beside events, as lines of the same form."""

    def __init__(self, events: EventLog) -> None:
        super().__init__()
        self._events = events

    def format(self, record: logging.LogRecord) -> str:
        """One line; an exception is in `exception`."""
        facts = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
        }
        facts |= {"service": "upkeep", "logger": record.name, "trace_id": self._events.trace_id}
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return str(_RENDERER(None, "", {"event": record.getMessage(), **facts}))


def log_as_json(stream: TextIO | None = None) -> EventLog:
    """From here on this process logs JSON lines only; the listener that writes a history's events."""
    events, handler = EventLog(stream), logging.StreamHandler(stream)
    handler.setFormatter(JsonRecords(events))
    for name in ("", *OWN):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    logging.captureWarnings(capture=True)
    return events
