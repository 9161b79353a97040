"""What a host's dead-man switch did by itself is written down in its name, as soon as somebody here hears of it."""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.session import RunSession
from upkeep.domain.change import Journal, JournalState
from upkeep.domain.record import Actor

ACTION = "host.guard_acted"


def note_guard(session: RunSession, host: str, journal: Journal, *, stage: str = "") -> None:
    """An event by the guard, if it was the guard that put the host back; `at` in the event is the host's own clock."""
    if journal.actor != "guard" or journal.state is not JournalState.ROLLED_BACK:
        return
    actor = Actor(name=f"dead-man switch of {host}", kind="guard", on_behalf_of=session.record.actor.name)
    body = {"at": datetime.fromtimestamp(journal.updated_at, UTC).isoformat(), "to_version": journal.from_version}
    session.history.record(
        session.record.id, ACTION, host=host, stage=stage, reason=journal.reason, body=body, actor=actor
    )
