"""What every runbook begins and ends with: prepare and open the run, close it with an outcome whatever happens."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any

from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.attend_tickets import TellingTicket
from tasks.board import Board
from tasks.keep_ticket import refuse_without_ticket
from tasks.keep_windows import refuse_outside_window
from tasks.missed_starts import as_planned
from tasks.notify import telling
from tasks.prepare_run import open_session, prepare
from tasks.refuse_unapprovable import refuse_unapprovable
from tasks.refused_runs import refusals_noted
from tasks.resume_run import resume_session, run_to_resume
from tasks.session import RunSession
from tasks.vouching import Vouching
from upkeep.domain.change import RunOutcome
from upkeep.domain.record import RunRequest
from upkeep.errors import AuditError
from upkeep.garbage import collect_seldom, keep_for_good
from upkeep.wiring import site

HOSTS_AT_ONCE = 64
PAINT_EVERY = timedelta(seconds=5)
SWITCH_SECONDS = 0.02
"""A thread keeps Python so long; with its own 0.005 a run over 50 hosts took 3 and 7 % more of the controller's CPU (in turn, load 20)."""


def threads(at_once: int) -> Any:  # noqa: ANN401 - Prefect types its runner narrower than its decorator takes it
    """A task runner that works on this many hosts at once."""
    return ThreadPoolTaskRunner(max_workers=at_once)


@contextmanager
def open_run(runbook: str, request: RunRequest, *, with_archives: bool = True) -> Iterator[RunSession]:
    """One run, opened or taken up again: its documents judged, its opening written down, its live artifacts painted, and closed.

    A run that is broken off (killed, suspended, Ctrl-C for the third time) stays open: it can be resumed.

    Raises:
        BadInput, Refused: before any host was touched.
    """
    collect_seldom()
    keep_for_good()
    sys.setswitchinterval(SWITCH_SECONDS)
    session = _session(runbook, request, with_archives=with_archives)
    try:
        with (
            telling(site()),
            Vouching(session),
            _cancelled_by_sigterm(session),
            Board(session, every=PAINT_EVERY),
            TellingTicket(site, session),
        ):
            yield session
    except Exception as error:
        _close_as_failed(session, error)
        raise
    finally:
        session.close()


def _close_as_failed(session: RunSession, error: Exception) -> None:
    with suppress(AuditError):  # a history that cannot be written is the error already
        if session.history.run(session.record.id).outcome is None:
            session.history.close_run(session.record.id, RunOutcome.FAILED, f"{type(error).__name__}: {error}")


def _session(runbook: str, request: RunRequest, *, with_archives: bool) -> RunSession:
    flow_run_id = str(flow_run.id or "")
    left = run_to_resume(site(), request, flow_run_id)
    if left is not None:
        return resume_session(site(), left, request, flow_run_id)
    with (
        refusals_noted(site(), runbook, request),
        as_planned(site(), runbook, request, flow_run.scheduled_start_time),
    ):
        prepared = prepare(site(), runbook, request, with_archives=with_archives, flow_run_id=flow_run_id)
        refuse_unapprovable(prepared.record, request)
        refuse_outside_window(site(), prepared.record)
        refuse_without_ticket(site(), prepared.record, request)
        return open_session(site(), prepared)


@contextmanager
def _cancelled_by_sigterm(session: RunSession) -> Iterator[None]:
    """The first SIGTERM (Cancel in the UI, a worker that is stopped) puts the hosts in work back; a second one breaks off."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(_signum: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, before)
        session.cancel("the run was cancelled")

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_name() -> str:
    """A flow run's name: runbook, plan and id, as people would say it."""
    request = flow_run.parameters.get("request") or {}
    plan = request.get("plan", "") if isinstance(request, dict) else getattr(request, "plan", "")
    of_run = request.get("of_run", "") if isinstance(request, dict) else getattr(request, "of_run", "")
    subject = plan.rsplit("/", 1)[-1].removesuffix(".yaml") or f"of {of_run}"
    return f"{flow_run.flow_name} {subject} {flow_run.scheduled_start_time:%Y-%m-%d %H:%M:%S}"
