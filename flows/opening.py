"""What every runbook begins and ends with: prepare and open the run, close it with an outcome whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.board import Board
from tasks.prepare_run import open_session, prepare
from tasks.session import RunSession
from upkeep.domain.change import RunOutcome
from upkeep.domain.record import RunRequest
from upkeep.wiring import site

HOSTS_AT_ONCE = 64
PAINT_EVERY = timedelta(seconds=5)


def threads(at_once: int) -> Any:  # noqa: ANN401 - Prefect types its runner narrower than its decorator takes it
    """A task runner that works on this many hosts at once."""
    return ThreadPoolTaskRunner(max_workers=at_once)


@contextmanager
def open_run(runbook: str, request: RunRequest, *, with_archives: bool = True) -> Iterator[RunSession]:
    """One run: its documents judged, its opening written down, its live artifacts painted, and always closed.

    Raises:
        BadInput, Refused: before any host was touched.
    """
    prepared = prepare(site(), runbook, request, with_archives=with_archives)
    session = open_session(site(), prepared)
    try:
        with Board(session, every=PAINT_EVERY):
            yield session
    except BaseException as error:
        session.history.close_run(session.record.id, RunOutcome.FAILED, f"{type(error).__name__}: {error}")
        raise
    finally:
        session.close()


def run_name() -> str:
    """A flow run's name: runbook, plan and id, as people would say it."""
    request = flow_run.parameters.get("request") or {}
    plan = request.get("plan", "") if isinstance(request, dict) else getattr(request, "plan", "")
    of_run = request.get("of_run", "") if isinstance(request, dict) else getattr(request, "of_run", "")
    subject = plan.rsplit("/", 1)[-1].removesuffix(".yaml") or f"of {of_run}"
    return f"{flow_run.flow_name} {subject} {flow_run.scheduled_start_time:%Y-%m-%d %H:%M:%S}"
