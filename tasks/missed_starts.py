"""Starts that were planned and did not happen: written down with the reason and the next one, never made up for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from upkeep.audit.history import History
from upkeep.documents import load_plan
from upkeep.domain.record import RunRequest
from upkeep.domain.starting import MISSED, TOLERANCE
from upkeep.errors import AuditError, BadInput, Refused, UpkeepError
from upkeep.services.calendars import Calendars
from upkeep.wiring import Site

MISSABLE = frozenset({"maintenance", "staged_upgrade", "rollback"})
_ACTION = "run.missed"


@contextmanager
def as_planned(
    site: Site, runbook: str, request: RunRequest, planned: datetime | None, now: datetime | None = None
) -> Iterator[None]:
    """A scheduled run begins at its instant or not at all; whatever keeps it from being opened is written down.

    Raises:
        Refused: it is more than a minute after the planned start.
    """
    if request.source != "schedule" or runbook not in MISSABLE or request.dry_run or planned is None:
        yield
        return
    now = now or datetime.now(UTC)
    _refuse_missed(site, runbook, request, planned, now)
    _wait_for(planned, now)
    try:
        yield
    except AuditError:
        raise
    except UpkeepError as error:
        note_missed(site.history, request, runbook, planned, str(error))
        raise


def _refuse_missed(site: Site, runbook: str, request: RunRequest, planned: datetime, now: datetime) -> None:
    late = now - planned
    if late <= TOLERANCE:
        return
    reason = (
        f"{runbook} was planned for {planned.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC and could have begun "
        f"{int(late.total_seconds())} s later; a start more than {int(TOLERANCE.total_seconds())} s late is missed, not made up for"
    )
    note_missed(site.history, request, runbook, planned, reason, late=late)
    raise Refused(reason, remedy="let the schedule start the next one, or start it by hand while the window is open")


def note_missed(
    history: History,
    request: RunRequest,
    runbook: str,
    planned: datetime,
    reason: str,
    *,
    late: timedelta | None = None,
) -> bool:
    """Write a missed start into the history, once; whether it was new."""
    missed_id = MISSED + (request.run_id or f"{planned.astimezone(UTC):%Y%m%d-%H%M%S}")
    if history.events(missed_id):
        return False
    body: dict[str, object] = {
        "runbook": runbook,
        "plan": request.plan,
        "planned": planned.astimezone(UTC).isoformat(),
        "next": next_opening(request.plan),
    }
    if late is not None:
        body["late_seconds"] = late.total_seconds()
    history.record(missed_id, _ACTION, reason=reason, body=body)
    return True


def next_opening(plan: str) -> str:
    """When the plan's window opens next, in its zone and in UTC; empty where that cannot be said."""
    if not plan:
        return ""
    try:
        read = load_plan(Path(plan))
    except BadInput:
        return ""
    now = datetime.now(UTC)
    schedule = Calendars(read, Path(plan).absolute().parent).schedule(now)
    if not schedule.windows or schedule.unreadable:
        return ""
    return schedule.told(schedule.decide(now).next_opening)


def _wait_for(planned: datetime, now: datetime) -> None:
    """A worker whose clock is a little behind the server's would find the window closed still."""
    ahead = (planned - now).total_seconds()
    if 0 < ahead <= TOLERANCE.total_seconds():
        threading.Event().wait(ahead)
