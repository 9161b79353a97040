"""What ticket systems sent: each told from its repetitions, kept until its ticket was judged, judged by one at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlmodel import Session, col, select

from upkeep.audit.beside import KeptBeside
from upkeep.audit.database import trouble, writing
from upkeep.audit.history import History
from upkeep.audit.tables import DeliveryRow
from upkeep.domain.ticket import TicketRef
from upkeep.errors import shorten

HELD_FOR = timedelta(minutes=2)
"""A judge that has died holds what it took for so long."""
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=15)
MOST_ATTEMPTS = 120


class Fate(StrEnum):
    """What became of a delivery; `new` and `waiting` are judged again."""

    NEW = "new"
    WAITING = "waiting"
    STARTED = "started"
    REFUSED = "refused"
    KEPT = "kept"
    GIVEN_UP = "given up"


_OPEN = (Fate.NEW.value, Fate.WAITING.value)


@dataclass(frozen=True)
class Delivery:
    """One webhook that was sent, and what became of it."""

    id: int
    ref: TicketRef
    delivery: str
    received_at: datetime
    fate: Fate
    reason: str
    plan_hash: str
    flow_run_id: str
    attempts: int


class Deliveries(KeptBeside):
    """Deliveries beside the history, in the same database. Every method raises AuditError when that cannot be used."""

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._history = history

    def keep(self, ref: TicketRef, delivery: str, body_sha256: str, now: datetime) -> bool:
        """Keep one delivery, durably; False when it came before."""
        at = now.isoformat()
        row = DeliveryRow(
            source=ref.source,
            delivery=delivery,
            ticket=ref.id,
            body_sha256=body_sha256,
            received_at=at,
            state=Fate.NEW.value,
            next_at=at,
        )
        try:
            with writing(self._engine) as connection:
                session = Session(bind=connection, join_transaction_mode="control_fully")
                session.add(row)
                session.flush()
        except IntegrityError:
            return False
        except SQLAlchemyError as error:
            raise trouble(self._url, error) from error
        return True

    def due(self, now: datetime, *, limit: int = 5) -> dict[TicketRef, list[Delivery]]:
        """Deliveries to judge now, all of one ticket together, held for this caller until `HELD_FOR` has passed.

        While one judge holds a ticket, later deliveries of that ticket wait.
        """
        at = now.isoformat()
        with self._writing() as session:
            rows = session.exec(
                select(DeliveryRow).where(col(DeliveryRow.state).in_(_OPEN)).order_by(col(DeliveryRow.id))
            ).all()
            held = {(row.source, row.ticket) for row in rows if (row.held_until or "") > at}
            taken: dict[TicketRef, list[DeliveryRow]] = defaultdict(list)
            for row in rows:
                ref = TicketRef(source=row.source, id=row.ticket)
                if row.next_at <= at and (row.source, row.ticket) not in held and (ref in taken or len(taken) < limit):
                    taken[ref].append(row)
            for row in (row for rows_of_one in taken.values() for row in rows_of_one):
                row.held_until = (now + HELD_FOR).isoformat()
            return {ref: [_delivery(row) for row in rows_of_one] for ref, rows_of_one in taken.items()}

    def judged(
        self,
        deliveries: Sequence[Delivery],
        fate: Fate,
        reason: str,
        now: datetime,
        *,
        plan_hash: str = "",
        flow_run_id: str = "",
        again_at: datetime | None = None,
    ) -> None:
        """What became of these; `again_at` is when those that wait are judged again."""
        with self._writing() as session:
            for one in deliveries:
                row = session.get_one(DeliveryRow, one.id)
                row.state, row.reason, row.held_until = fate.value, shorten(self._clean(reason), 2000), None
                row.judged_at, row.plan_hash, row.flow_run_id = now.isoformat(), plan_hash, flow_run_id
                row.next_at = (again_at or now).isoformat()

    def not_judged(
        self, deliveries: Sequence[Delivery], why: str, now: datetime, *, retry_after: timedelta | None = None
    ) -> None:
        """They could not be judged: tried again after a growing wait, given up after very many."""
        with self._writing() as session:
            for one in deliveries:
                row = session.get_one(DeliveryRow, one.id)
                row.attempts += 1
                wait = min(FIRST_WAIT * 2 ** min(row.attempts - 1, 20), LONGEST_WAIT)
                row.next_at = (now + max(wait, retry_after or timedelta(0))).isoformat()
                row.reason, row.held_until = shorten(self._clean(why), 2000), None
                if row.attempts >= MOST_ATTEMPTS:
                    row.state = Fate.GIVEN_UP.value

    def started(self, ref: TicketRef, plan_hash: str) -> str:
        """The flow run that was started for this ticket and plan; empty when none was."""
        wanted = select(DeliveryRow.flow_run_id).where(
            DeliveryRow.source == ref.source,
            DeliveryRow.ticket == ref.id,
            DeliveryRow.plan_hash == plan_hash,
            DeliveryRow.state == Fate.STARTED.value,
        )
        with self._writing() as session:
            return session.exec(wanted).first() or ""

    def all(self, ref: TicketRef | None = None, *, newest: int = 1000) -> list[Delivery]:
        """Deliveries, newest first."""
        wanted = select(DeliveryRow).order_by(col(DeliveryRow.id).desc()).limit(newest)
        if ref is not None:
            wanted = wanted.where(DeliveryRow.source == ref.source, DeliveryRow.ticket == ref.id)
        with self._reading() as session:
            return [_delivery(row) for row in session.exec(wanted)]

    def _clean(self, text: str) -> str:
        return str(self._history.clean(text))


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id or 0,
        ref=TicketRef(source=row.source, id=row.ticket),
        delivery=row.delivery,
        received_at=datetime.fromisoformat(row.received_at),
        fate=Fate(row.state),
        reason=row.reason,
        plan_hash=row.plan_hash,
        flow_run_id=row.flow_run_id,
        attempts=row.attempts,
    )
