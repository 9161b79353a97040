"""Live progress of a run: a moving table on a terminal, plain lines in a pipe."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from upkeep.console.screen import coloured
from upkeep.domain.progress import COLUMNS, Progress
from upkeep.domain.record import Event, Happening

_MOST_ROWS = 30
_ABOVE_TABLE = frozenset({"stage.closed", "host.result", "inspection.concluded", "host.diagnosed"})
"""What stays on a terminal when the table moves on."""


class LiveRun:
    """Shows events as they come; use as a listener of the history inside a `with`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress()
        self._lock = threading.Lock()
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._picture)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        with self._lock:
            self.progress.take(event)
        if (self._live is None or event.action in _ABOVE_TABLE) and (line := line_of(event)):
            self.console.print(line)

    def _picture(self) -> Group:
        with self._lock:
            return Group(_heading(self.progress), _table(self.progress))


_IN_FULL = {
    "host.diagnosed": lambda event: escape(event.reason),
    "inspection.concluded": lambda event: escape(f"{event.body['words']}; report: {event.body['report']}"),
}
"""What is told in its own words."""


def line_of(event: Event) -> str:
    """One event as a line with a time, or nothing where it would only be noise."""
    text = _said(event)
    return f"{event.at.astimezone():%H:%M:%S}  {text}" if text and event.action not in _IN_FULL else text


def _said(event: Event) -> str:
    if event.action == "stage.opened":
        hosts = event.body.get("hosts", [])
        return f"stage {escape(event.stage)}: {len(hosts)} hosts"
    if event.action == "stage.closed":
        verdict = event.body.get("verdict", "")
        return f"stage {escape(event.stage)}: {verdict}, {escape(event.reason)}"
    if event.action == "host.result":
        outcome = str(event.body.get("outcome", ""))
        return f"{escape(event.host)}: {coloured(outcome)}" + (f", {escape(event.reason)}" if event.reason else "")
    if event.action in _IN_FULL:
        return _IN_FULL[event.action](event)
    if event.happening in {Happening.FAILED, Happening.UNKNOWN} and event.step is not None:
        return f"{escape(event.host)}: {event.step.value} {event.happening.value}, {escape(event.reason)}"
    return ""


def _heading(progress: Progress) -> Text:
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(progress.counts().items()))
    stage = next((name for name, verdict in reversed(progress.stages.items()) if verdict == "in work"), "")
    elapsed = f"{(datetime.now(UTC) - progress.started_at).total_seconds():.0f} s" if progress.started_at else ""
    left = progress.left(datetime.now(UTC))
    return Text(
        "  ".join(part for part in (f"stage {stage}" if stage else "checking", counts, elapsed, left) if part),
        style="bold",
    )


def _table(progress: Progress) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("host", "stage", *(step.value for step in COLUMNS), "outcome"):
        table.add_column(column, no_wrap=True)
    rows = progress.rows()
    busy_first = sorted(rows, key=lambda row: (bool(row["outcome"]), row["host"]))
    for row in busy_first[:_MOST_ROWS]:
        table.add_row(
            *(escape(row[key]) for key in ("host", "stage", *(s.value for s in COLUMNS))), coloured(row["outcome"])
        )
    if len(rows) > _MOST_ROWS:
        table.add_row(f"… {len(rows) - _MOST_ROWS} more")
    return table
