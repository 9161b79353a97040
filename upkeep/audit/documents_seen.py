"""Plans, inventories and settings as runs used them: what differs from the last time is an event of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlmodel import col, select

from upkeep.audit.history import History
from upkeep.audit.tables import EventRow
from upkeep.domain.record import Actor, Event

MOST_KEPT = 100_000


@dataclass(frozen=True)
class Seen:
    """One document as a run is opened with it; `kind` is plan, inventory or settings."""

    kind: str
    name: str
    text: str


def note(history: History, seen: Seen, actor: Actor, run_id: str) -> Event | None:
    """Write `KIND.changed` (`KIND.first_used` the first time) when the document is not the one that was used last; else nothing.

    The masked text is kept with it up to `MOST_KEPT` characters, its SHA-256 always.
    """
    about = about_document(seen.kind, seen.name)
    before = last_of(history, about)
    digest = hashlib.sha256(seen.text.encode()).hexdigest()
    if before and before.body["sha256"] == digest:
        return None
    body = {"name": seen.name, "sha256": digest, "used_by": run_id}
    body |= {"text": seen.text} if len(seen.text) <= MOST_KEPT else {}
    body |= {"sha256_before": before.body["sha256"]} if before else {}
    action = f"{seen.kind}.changed" if before else f"{seen.kind}.first_used"
    return history.record(about, action, reason=f"noticed when run {run_id} was opened", body=body, actor=actor)


def about_document(kind: str, name: str) -> str:
    """What stands in place of a run's id in such events."""
    return f"document:{kind}:{name}"


def last_of(history: History, about: str) -> Event | None:
    """The newest event about a document."""
    wanted = select(EventRow.body).where(EventRow.run == about).order_by(col(EventRow.seq).desc()).limit(1)
    with history.reading() as session:
        body = session.exec(wanted).first()
    return Event.model_validate_json(body) if body else None
