"""The events of a run that say how its approvals stand; few, however large the run is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlmodel import col, or_, select

from upkeep.audit.history import History
from upkeep.audit.queries import OF_NO_HOST
from upkeep.audit.tables import EventRow
from upkeep.domain.approval import Standing, standings, waited_for
from upkeep.domain.record import Event

_ENDS_WAITING = ("run.resumed", "run.closed")


def approval_events(history: History, run_id: str) -> list[Event]:
    """What was asked for, given, refused, rejected and voided, in order."""
    return _events(history, [run_id])[run_id]


def standing_of(history: History, run_id: str, subject: str) -> Standing | None:
    """How the approval of one stage (or override) stands; None when it was never asked for."""
    return standings(approval_events(history, run_id)).get(subject)


def waits_for(history: History, run_id: str) -> Standing | None:
    """What an open run waits for; None when it does not wait for people."""
    return waited_for(approval_events(history, run_id))


def waiting_among(history: History, run_ids: Collection[str]) -> set[str]:
    """Which of these open runs wait for people; one query, however many runs."""
    return {run for run, events in _events(history, run_ids).items() if waited_for(events)} if run_ids else set()


def _events(history: History, run_ids: Collection[str]) -> dict[str, list[Event]]:
    wanted = select(EventRow.run, EventRow.body).where(
        col(EventRow.run).in_(run_ids),
        OF_NO_HOST,
        or_(col(EventRow.action).startswith("approval."), col(EventRow.action).in_(_ENDS_WAITING)),
    )
    found: dict[str, list[Event]] = defaultdict(list)
    with history.reading() as session:
        for run, body in session.exec(wanted.order_by(col(EventRow.seq))):
            found[run].append(Event.model_validate_json(body))
    return found
