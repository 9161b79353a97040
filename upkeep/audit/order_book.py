"""Orders that a run's engine gives and shards carry out, wherever they run: taken for a time, answered once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter
from sqlalchemy import case, func
from sqlmodel import Session, col, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from upkeep.audit.beside import KeptBeside
from upkeep.audit.history import History
from upkeep.audit.tables import RunRow, ShardOrderRow, ShardRow
from upkeep.domain.orders import Change, Changed, Check, Checked, Undo

HELD_FOR = timedelta(seconds=30)
"""A shard without a word for so long has died, and its hosts are another's."""
RENEWED_EVERY = timedelta(seconds=5)

HostOrder = Check | Change | Undo
HostAnswer = Checked | Changed

_KINDS: dict[str, TypeAdapter[HostOrder]] = {kind.__name__: TypeAdapter(kind) for kind in (Check, Change, Undo)}
_ANSWERS: dict[str, TypeAdapter[HostAnswer]] = {
    "Check": TypeAdapter(Checked),
    "Change": TypeAdapter(Changed),
    "Undo": TypeAdapter(Changed),
}
_CANCEL = "Cancel"


@dataclass(frozen=True)
class Claim:
    """An order that one shard holds; `fence` above 1 says that another held it before and died over it."""

    id: int
    order: HostOrder
    fence: int

    @property
    def again(self) -> bool:
        """Whether the host may be half-way."""
        return self.fence > 1


@dataclass(frozen=True)
class ShardState:
    """One shard as the run sees it."""

    id: int
    process: str
    alive: bool
    waiting: bool
    """Started, and not one word from it yet: no worker has taken it up."""


class OrderBook(KeptBeside):
    """One run's orders, in the database of the history. Times are the database's own, so that shards' clocks do not matter.

    Every method raises AuditError when the database cannot be used.
    """

    def __init__(self, history: History, run: str) -> None:
        super().__init__(history)
        self._run = run

    def put(self, orders: Sequence[tuple[HostOrder, int]]) -> list[int]:
        """Give orders out, each with the lane whose shard should take it before others do; their numbers."""
        with self._writing() as session:
            now = _now(session)
            rows = [
                ShardOrderRow(
                    run=self._run,
                    kind=type(order).__name__,
                    host=order.host,
                    lane=lane,
                    body=_KINDS[type(order).__name__].dump_json(order).decode(),
                    put_at=now.isoformat(),
                )
                for order, lane in orders
            ]
            session.add_all(rows)
            session.flush()
            return [row.id or 0 for row in rows]

    def claim(self, shard: int, lane: int, most: int) -> list[Claim]:
        """Take up to `most` orders that nobody holds, those of `lane` first."""
        with self._writing() as session:
            now = _now(session)
            free = or_(col(ShardOrderRow.held_until).is_(None), col(ShardOrderRow.held_until) < now.isoformat())
            own_first = case((col(ShardOrderRow.lane) == lane, 0), else_=1)
            rows = session.exec(self._open().where(free).order_by(own_first, col(ShardOrderRow.id)).limit(most)).all()
            for row in rows:
                row.shard, row.fence = shard, row.fence + 1
                row.held_until = (now + HELD_FOR).isoformat()
            return [Claim(row.id or 0, _KINDS[row.kind].validate_json(row.body), row.fence) for row in rows]

    def renew(self, shard: int) -> frozenset[int]:
        """Hold what this shard has for another while, and say that it lives; the numbers it still holds."""
        with self._writing() as session:
            now = _now(session)
            session.get_one(ShardRow, shard).seen_at = now.isoformat()
            rows = session.exec(self._open().where(ShardOrderRow.shard == shard)).all()
            for row in rows:
                row.held_until = (now + HELD_FOR).isoformat()
            return frozenset(row.id or 0 for row in rows)

    def answer(self, claim: Claim, answer: HostAnswer) -> bool:
        """What came of an order; False when it is another's by now, which changes nothing."""
        with self._writing() as session:
            now = _now(session)
            row = session.get_one(ShardOrderRow, claim.id)
            if row.fence != claim.fence or row.answered_at is not None:
                return False
            row.answer, row.answered_at = _ANSWERS[row.kind].dump_json(answer).decode(), now.isoformat()
            return True

    def collect(self) -> list[tuple[int, HostAnswer]]:
        """Answers that nobody has had yet, in the order of their orders."""
        answered = col(ShardOrderRow.answered_at).is_not(None), col(ShardOrderRow.collected_at).is_(None)
        wanted = select(ShardOrderRow).where(ShardOrderRow.run == self._run, ShardOrderRow.kind != _CANCEL, *answered)
        if not self._any(wanted):
            return []
        with self._writing() as session:
            now = _now(session)
            rows = session.exec(wanted.order_by(col(ShardOrderRow.id))).all()
            for row in rows:
                row.collected_at = now.isoformat()
            return [(row.id or 0, _ANSWERS[row.kind].validate_json(row.answer)) for row in rows]

    def withdraw(self) -> int:
        """Take back what no living shard holds; how many orders are still in a shard's hands."""
        with self._writing() as session:
            now = _now(session)
            rows = session.exec(self._open()).all()
            lost = [row for row in rows if (row.held_until or "") < now.isoformat()]
            for row in lost:
                row.fence, row.answered_at, row.collected_at = row.fence + 1, now.isoformat(), now.isoformat()
            return len(rows) - len(lost)

    def cancel(self, reason: str) -> None:
        """Tell the shards to begin nothing more and to put back what is being watched."""
        with self._writing() as session:
            now = _now(session)
            at = now.isoformat()
            session.add(
                ShardOrderRow(
                    run=self._run,
                    kind=_CANCEL,
                    host="",
                    lane=0,
                    body=reason,
                    put_at=at,
                    answered_at=at,
                    collected_at=at,
                )
            )

    def cancelled(self) -> str:
        """Why the run was cancelled; empty when it was not."""
        wanted = select(ShardOrderRow.body).where(ShardOrderRow.run == self._run, ShardOrderRow.kind == _CANCEL)
        with self._reading() as session:
            return session.exec(wanted).first() or ""

    def conducted(self) -> bool:
        """Whether the run is open and its controller vouches for it: only then a shard takes orders."""
        with self._reading() as session:
            run = session.get(RunRow, self._run)
            vouched = run.lease_until if run is not None and run.outcome is None else None
            return vouched is not None and vouched >= _now(session).isoformat()

    def start_shard(self) -> int:
        """Note that one is being started; its number."""
        with self._writing() as session:
            now = _now(session)
            row = ShardRow(run=self._run, started_at=now.isoformat())
            session.add(row)
            session.flush()
            return row.id or 0

    def begin_shard(self, shard: int, process: str) -> None:
        """It runs, in this process."""
        with self._writing() as session:
            now = _now(session)
            row = session.get_one(ShardRow, shard)
            row.process, row.seen_at, row.ended_at = process, now.isoformat(), None

    def end_shard(self, shard: int) -> None:
        """It takes no more."""
        with self._writing() as session:
            now = _now(session)
            session.get_one(ShardRow, shard).ended_at = now.isoformat()

    def shards(self) -> list[ShardState]:
        """All that were started for this run."""
        with self._reading() as session:
            fresh = (_now(session) - HELD_FOR).isoformat()
            rows = session.exec(select(ShardRow).where(ShardRow.run == self._run).order_by(col(ShardRow.id)))
            return [
                ShardState(
                    row.id or 0,
                    row.process,
                    alive=row.ended_at is None and (row.seen_at or "") >= fresh,
                    waiting=row.ended_at is None and row.seen_at is None,
                )
                for row in rows
            ]

    def holders(self) -> Collection[int]:
        """Shards that hold an order which is not answered."""
        with self._reading() as session:
            return {row.shard for row in session.exec(self._open()) if row.shard is not None}

    def _open(self) -> SelectOfScalar[ShardOrderRow]:
        return select(ShardOrderRow).where(ShardOrderRow.run == self._run, col(ShardOrderRow.answered_at).is_(None))

    def _any(self, wanted: SelectOfScalar[ShardOrderRow]) -> bool:
        with self._reading() as session:
            return session.exec(wanted.limit(1)).first() is not None


def _now(session: Session) -> datetime:
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = session.exec(select(func.clock_timestamp())).one()
    return now.astimezone(UTC)
