"""Runs as their change tickets see them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, or_, select

from upkeep.audit.database import trouble
from upkeep.audit.history import History
from upkeep.audit.reading import RunDetail
from upkeep.audit.tables import RunRow


def runs_of_ticket(history: History, ticket: str) -> list[RunDetail]:
    """Every run for a ticket (`source/ID`), oldest first, dry runs left out.

    Raises:
        AuditError: the history cannot be read.
    """
    found = _ids(history, ticket=ticket)
    return [run for run in map(history.run, found) if not run.record.dry_run]


def ticketed_since(history: History, since: datetime) -> list[str]:
    """Ids of runs with a ticket that are open or ended after `since`, oldest first.

    Raises:
        AuditError: the history cannot be read.
    """
    return _ids(history, since=since.isoformat())


def _ids(history: History, *, ticket: str = "", since: str = "") -> list[str]:
    engine, url = history.database
    wanted = select(RunRow.id).order_by(col(RunRow.started_at), col(RunRow.id))
    wanted = wanted.where(RunRow.ticket == ticket) if ticket else wanted.where(RunRow.ticket != "")
    if since:
        wanted = wanted.where(or_(col(RunRow.ended_at).is_(None), col(RunRow.ended_at) >= since))
    try:
        with Session(engine) as session:
            return list(session.exec(wanted))
    except SQLAlchemyError as error:
        raise trouble(url, error) from error
