"""The newest events that people may be told about, and how many messages went to a target lately."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import col, func, or_, select

from upkeep.audit.history import History
from upkeep.audit.tables import EventRow, OutboxRow
from upkeep.domain.notification import ACTIONS
from upkeep.domain.record import Event

NEWEST = 20_000
"""Events looked through each time; what was put into the outbox before is not put again."""


def recent(history: History, *, after: int, since: datetime) -> tuple[list[Event], int]:
    """Such events after `after` and not before `since`, in order, and the last event of all; results only of hosts that went back."""
    with history.reading() as session:
        last = session.exec(select(func.max(EventRow.seq))).one() or 0
        wanted = select(EventRow.body).where(
            EventRow.seq > max(after, last - NEWEST),
            EventRow.seq <= last,
            col(EventRow.action).in_(ACTIONS),
            or_(EventRow.action != "host.result", col(EventRow.body).contains('"rolled back"')),
        )
        bodies = session.exec(wanted.order_by(col(EventRow.seq))).all()
    events = (Event.model_validate_json(body) for body in bodies)
    return [event for event in events if event.at >= since], last


def sent_since(history: History, kind: str, target: str, since: datetime) -> int:
    """Messages that went to a target since then."""
    wanted = select(func.count()).where(
        OutboxRow.kind == kind, OutboxRow.target == target, col(OutboxRow.sent_at) > since.isoformat()
    )
    with history.reading() as session:
        return session.exec(wanted).one()
