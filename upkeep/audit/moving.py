"""The history moved into another database, chain and all: whole or not at all, and written in one place only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Integer, Table, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, SQLModel, col
from sqlmodel import select as select_rows

from upkeep.audit.chain import verify_chain
from upkeep.audit.database import open_database, shown_address, trouble, writing
from upkeep.audit.history import History
from upkeep.audit.rebuilding import digests
from upkeep.audit.redaction import Redaction
from upkeep.audit.tables import EventRow
from upkeep.audit.writer import MOVED_AWAY, link_of, newest, next_row
from upkeep.domain.record import Actor, Event, Happening
from upkeep.errors import AuditError, BadInput

MOVED_IN = "history.moved_in"
_AT_ONCE = 1000


@dataclass(frozen=True)
class Moved:
    """What the new database holds."""

    events: int
    rows: Mapping[str, int]
    finished: bool = False
    """The copy was there already: only the old database did not know."""


def move(history: History, to: str, actor: Actor, reason: str) -> Moved:
    """Copy everything to the database at `to`, compare, and close this one: nothing is written to it any more.

    Both are locked meanwhile. Broken off at any moment, either nothing has happened or calling it again finishes it.

    Raises:
        BadInput: the target holds something else, or runs are open.
        AuditError: a database cannot be used, or the copy is not the same.
    """
    if waiting := history.open_runs():
        names = ", ".join(run.id for run in waiting[:5])
        raise BadInput("runs are open", found=names, remedy="let them end, or stop them; then stop Upkeep's services")
    engine, url = history.database
    target = open_database(to)
    try:
        with writing(engine) as old, writing(target) as new:
            sides = [Session(bind=one, join_transaction_mode="control_fully") for one in (old, new)]
            return _finished(*sides) or _moved(sides[0], sides[1], _said(url, to, actor, reason))
    except SQLAlchemyError as error:
        raise trouble(to, error) from error
    finally:
        target.dispose()


def _said(url: str, to: str, actor: Actor, reason: str) -> Event:
    body = {"from": shown_address(url), "to": shown_address(to)}
    return Event(
        seq=0,
        at=datetime.now(UTC),
        run="",
        actor=actor,
        action=MOVED_AWAY,
        happening=Happening.NOTE,
        reason=reason,
        body=body,
    )


def _finished(old: Session, new: Session) -> Moved | None:
    """A move that ended between the two commits: the old database is told; None when the target is empty."""
    filled = [table.name for table in _tables() if _count(new, table)]
    if not filled:
        return None
    head = newest(old)
    follows = new.get(EventRow, head.seq + 1) if head else None
    if head and follows and follows.action == MOVED_AWAY and follows.prev_hash == head.hash:
        old.add(EventRow(**follows.model_dump()))
        old.flush()
        return Moved(_count(new, _table(EventRow)), {}, finished=True)
    raise BadInput(
        "the database to move to is not empty", found=", ".join(filled), allowed="a database without any history"
    )


def _moved(old: Session, new: Session, away: Event) -> Moved:
    head = newest(old)
    if head and head.action == MOVED_AWAY:
        raise BadInput("this history was moved before", remedy="set UPKEEP_DATABASE_URL to where it is now")
    last = EventRow(**next_row(away, link_of(head), Redaction())[0])
    old.add(last)
    old.flush()
    rows = {table.name: _copy(old, new, table) for table in _tables()}
    _count_on(new)
    _compare(old, new)
    arrived = away.model_copy(update={"action": MOVED_IN, "at": datetime.now(UTC)})
    first = EventRow(**next_row(arrived, link_of(last), Redaction())[0])
    new.add(first)
    new.flush()
    return Moved(first.seq, rows)


def _copy(old: Session, new: Session, table: Table) -> int:
    count, wanted = 0, select(table).order_by(*table.primary_key.columns).execution_options(yield_per=_AT_ONCE)
    for part in old.connection().execute(wanted).mappings().partitions(_AT_ONCE):
        new.connection().execute(insert(table), [dict(row) for row in part])
        count += len(part)
    return count


def _count_on(new: Session) -> None:
    """PostgreSQL counts new rows from where the copied ones end."""
    if new.get_bind().dialect.name == "sqlite":
        return
    for table in _tables():
        key = next(iter(table.primary_key.columns))
        if isinstance(key.type, Integer) and key.name == "id":
            last = new.connection().execute(select(func.max(key))).scalar()
            sequence = new.connection().execute(select(func.pg_get_serial_sequence(table.name, "id"))).scalar()
            if sequence and last:
                new.connection().execute(text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last})


def _compare(old: Session, new: Session) -> None:
    """What was read back from the target is what was there.

    Raises:
        AuditError: it is not; nothing is kept of it.
    """
    chain = verify_chain(
        new.exec(select_rows(EventRow).order_by(col(EventRow.seq)).execution_options(yield_per=_AT_ONCE))
    )
    if not chain.ok:
        raise AuditError(f"nothing was moved: {chain.reason}; do: upkeep history verify")
    counts = [{table.name: _count(side, table) for table in _tables()} for side in (old, new)]
    if counts[0] != counts[1] or digests(old) != digests(new):
        raise AuditError("nothing was moved: the copy is not the same as the original")


def _tables() -> list[Table]:
    return list(SQLModel.metadata.sorted_tables)


def _table(model: type[SQLModel]) -> Table:
    return model.__table__  # type: ignore[attr-defined,no-any-return]


def _count(session: Session, table: Table) -> int:
    return int(session.connection().execute(select(func.count()).select_from(table)).scalar_one())


def facts(moved: Moved) -> dict[str, Any]:
    """For `--json`."""
    return {"events": moved.events, "rows": dict(moved.rows), "finished_earlier_move": moved.finished}
