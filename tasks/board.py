"""What the Prefect UI shows of a run: the plan in sentences, hosts x phases, progress, the final report.

Artifacts are a view. They are painted by a thread of their own, off the hot path, and a server that does not answer costs the run nothing.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from datetime import timedelta
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectException

from tasks.session import RunSession
from upkeep.domain.explain import explain
from upkeep.domain.progress import Progress
from upkeep.domain.record import Event
from upkeep.domain.stages import StagePlan

log = logging.getLogger(__name__)

_ROWS_PER_PAINTING = 200
"""The table of more hosts is painted more seldom, in proportion: all rows are sent anew each time."""

_NO_SERVER = (PrefectException, httpx.HTTPError, OSError, RuntimeError)


class Board:
    """Paints a run's artifacts from its events while a `with` lasts, at most once in `every`."""

    def __init__(self, session: RunSession, *, every: timedelta) -> None:
        self._session, self._every = session, every
        self.progress = Progress()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._dirty = self._stale = False
        self._ticks = 0
        self._progress_id: UUID | None = None
        self._plan = ""
        context = contextvars.copy_context()
        self._painter = threading.Thread(target=lambda: context.run(self._paint_until_ended), name="board", daemon=True)

    def __enter__(self) -> Self:
        self._session.history.listeners.append(self._take)
        for event in self._session.history.events(self._session.record.id):
            self._take(event)
        self._painter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.history.listeners.remove(self._take)
        self._ended.set()
        self._painter.join(timeout=self._every.total_seconds() * 2)

    def _take(self, event: Event) -> None:
        if event.run == self._session.record.id:
            with self._lock:
                self.progress.take(event)
                self._dirty = True
                if event.action == "run.planned":
                    self._plan = self._explained(StagePlan.model_validate(event.body))

    def _explained(self, stages: StagePlan) -> str:
        record = self._session.record
        size = record.fleet_size or len(record.targets)
        sentences = explain(record.plan, stages, release=record.release, fleet_size=size)
        return "\n".join([f"# Plan {record.plan.name}", "", *(f"- {sentence}" for sentence in sentences)])

    def _paint_until_ended(self) -> None:
        while not self._ended.wait(self._every.total_seconds()):
            self._paint()
        self._paint(at_end=True)

    def _paint(self, *, at_end: bool = False) -> None:
        with self._lock:
            dirty, plan, self._dirty, self._plan = self._dirty, self._plan, False, ""
            done, total = self.progress.done, len(self.progress.hosts)
            rows = self._rows(dirty=dirty, at_end=at_end)
        if plan:
            publish_report(self._session, plan, name="plan", description="What this run does")
        try:
            if rows:
                key = f"run-{self._session.record.id}-hosts"
                create_table_artifact(key=key, table=rows, description="Hosts x phases")
            if dirty:
                self._paint_share(100 * done / max(1, total, len(self._session.hosts)))
        except _NO_SERVER as error:
            log.warning("the Prefect server did not take an artifact: %s", error)

    def _rows(self, *, dirty: bool, at_end: bool) -> list[dict[str, str]]:
        """The table, if it is time for it and anything has changed since the last one."""
        due = at_end or self._ticks % (1 + len(self.progress.hosts) // _ROWS_PER_PAINTING) == 0
        stale = dirty or self._stale
        self._ticks += 1
        self._stale = stale and not due
        return self.progress.rows() if stale and due else []

    def _paint_share(self, share: float) -> None:
        if self._progress_id is None:
            key = f"run-{self._session.record.id}-progress"
            self._progress_id = create_progress_artifact(progress=share, key=key, description="Hosts finished")  # type: ignore[assignment]
        else:
            update_progress_artifact(self._progress_id, progress=share)


def publish_report(
    session: RunSession, markdown: str, *, name: str = "report", description: str = "What came of this run"
) -> None:
    """A report as a markdown artifact."""
    try:
        create_markdown_artifact(markdown, key=f"run-{session.record.id}-{name}", description=description)
    except _NO_SERVER as error:
        log.warning("the Prefect server did not take the report: %s", error)
