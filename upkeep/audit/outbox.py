"""What is to be sent to other systems: kept until it went, never sent by two senders at once, put once per key."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import col, or_, select

from upkeep.audit.beside import KeptBeside
from upkeep.audit.chain import canonical
from upkeep.audit.history import History
from upkeep.audit.tables import OutboxRow
from upkeep.errors import shorten

HELD_FOR = timedelta(minutes=2)
"""A sender that has died holds what it took for so long."""
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=30)
MOST_ATTEMPTS = 60


@dataclass(frozen=True)
class Letter:
    """One thing to send; `attempts` counts those before this one."""

    id: int
    kind: str
    key: str
    target: str
    body: Mapping[str, Any]
    attempts: int
    put_at: datetime
    last_error: str = ""
    sent_at: datetime | None = None
    given_up_at: datetime | None = None


class Outbox(KeptBeside):
    """The outbox beside the history, in the same database. Every method raises AuditError when that cannot be used."""

    def __init__(self, history: History) -> None:
        self._history = history
        super().__init__(history)

    def put(self, kind: str, key: str, target: str, body: Mapping[str, Any], now: datetime) -> bool:
        """Keep one thing to send; False when `key` was put before, which changes nothing."""
        clean = canonical(self._history.clean(dict(body)))
        with self._writing() as session:
            if session.exec(select(OutboxRow.id).where(OutboxRow.key == key)).first() is not None:
                return False
            at = now.isoformat()
            session.add(OutboxRow(kind=kind, key=key, target=target, body=clean, put_at=at, next_at=at))
        return True

    def due(self, now: datetime, *, kinds: Collection[str] = (), target: str = "", limit: int = 50) -> list[Letter]:
        """What is to be sent now, oldest first per target, held for this caller until `HELD_FOR` has passed.

        A target that failed waits with all that comes after it, so that its letters stay in order.
        """
        at = now.isoformat()
        with self._writing() as session:
            wanted = select(OutboxRow).where(col(OutboxRow.sent_at).is_(None), col(OutboxRow.given_up_at).is_(None))
            if kinds:
                wanted = wanted.where(col(OutboxRow.kind).in_(kinds))
            if target:
                wanted = wanted.where(OutboxRow.target == target)
            rows: list[OutboxRow] = []
            blocked: set[str] = set()
            for row in session.exec(wanted.order_by(col(OutboxRow.id))):
                if row.next_at > at or (row.held_until or "") > at:
                    blocked.add(row.target)
                elif row.target not in blocked and len(rows) < limit:
                    rows.append(row)
            for row in rows:
                row.held_until = (now + HELD_FOR).isoformat()
            return [_letter(row) for row in rows]

    def sent(self, letter: int, now: datetime) -> None:
        """It went."""
        with self._writing() as session:
            row = session.get_one(OutboxRow, letter)
            row.sent_at, row.held_until, row.last_error = now.isoformat(), None, ""
            row.attempts += 1

    def failed(
        self, letter: int, error: str, now: datetime, *, retry_after: timedelta | None = None, final: bool = False
    ) -> None:
        """It did not go: tried again after a growing wait, or after `retry_after` where the other side asks for more.

        `final`, or too many attempts: it is given up and stays readable.
        """
        with self._writing() as session:
            row = session.get_one(OutboxRow, letter)
            row.attempts += 1
            wait = min(FIRST_WAIT * 2 ** min(row.attempts - 1, 20), LONGEST_WAIT)
            row.next_at = (now + max(wait, retry_after or timedelta(0))).isoformat()
            row.last_error, row.held_until = shorten(self._history.clean(error)), None
            if final or row.attempts >= MOST_ATTEMPTS:
                row.given_up_at = now.isoformat()

    def release(self, letter: int) -> None:
        """Not tried, so held no longer."""
        with self._writing() as session:
            session.get_one(OutboxRow, letter).held_until = None

    def all(self, *, kind: str = "", target: str = "", unsent: bool = False) -> list[Letter]:
        """Everything that was put, oldest first."""
        wanted = select(OutboxRow).order_by(col(OutboxRow.id))
        if kind:
            wanted = wanted.where(OutboxRow.kind == kind)
        if target:
            wanted = wanted.where(OutboxRow.target == target)
        if unsent:
            wanted = wanted.where(or_(col(OutboxRow.sent_at).is_(None), col(OutboxRow.given_up_at).is_not(None)))
        with self._reading() as session:
            return [_letter(row) for row in session.exec(wanted)]


def _letter(row: OutboxRow) -> Letter:
    return Letter(
        id=row.id or 0,
        kind=row.kind,
        key=row.key,
        target=row.target,
        body=json.loads(row.body),
        attempts=row.attempts,
        put_at=datetime.fromisoformat(row.put_at),
        last_error=row.last_error,
        sent_at=datetime.fromisoformat(row.sent_at) if row.sent_at else None,
        given_up_at=datetime.fromisoformat(row.given_up_at) if row.given_up_at else None,
    )
