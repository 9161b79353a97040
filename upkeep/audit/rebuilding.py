"""Read models made anew from the events, and whether they were what the events say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlmodel
from sqlalchemy import Integer, Table, delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, SQLModel, col

from upkeep.audit.chain import ARCHIVED, RESTORED, canonical, verify_chain
from upkeep.audit.database import trouble, writing
from upkeep.audit.history import History
from upkeep.audit.models import Plain, ReadModels
from upkeep.audit.tables import (
    ArchivedRunRow,
    ArchiveRow,
    ArtifactDeliveryRow,
    ArtifactRow,
    BackupRow,
    EventRow,
    FindingRow,
    HostRow,
    ReleaseSeenRow,
    RunRow,
    StageRow,
    StepRow,
)
from upkeep.errors import AuditError

MODELS: dict[str, type[SQLModel]] = {
    "runs": RunRow,
    "stages": StageRow,
    "hosts": HostRow,
    "steps": StepRow,
    "findings": FindingRow,
    "backups": BackupRow,
    "artifacts": ArtifactRow,
    "deliveries": ArtifactDeliveryRow,
    "releases": ReleaseSeenRow,
    "archives": ArchiveRow,
    "archived runs": ArchivedRunRow,
}
_BESIDE = {"run": {"lease_until"}}
"""Until when a run's controller vouches for it is no content of the history, nor is a part's number in its table."""
_AT_ONCE = 1000


@dataclass(frozen=True)
class Model:
    """One read model: how many rows the events make, and SHA-256 over their content before and after."""

    name: str
    rows: int
    before: str
    after: str

    @property
    def same(self) -> bool:
        """Whether it was what the events say, byte for byte."""
        return self.before == self.after


def rebuild(history: History, *, keep: bool = True) -> list[Model]:
    """Make all read models anew, in one transaction that is undone where not `keep`.

    Raises:
        AuditError: the chain is not whole, or the database cannot be used.
    """
    engine, url = history.database
    with history.event_rows() as rows:
        chain = verify_chain(rows)
    if not chain.ok:
        raise AuditError(
            f"nothing is rebuilt from events that are not whole: {chain.reason}; do: upkeep history verify"
        )
    try:
        with writing(engine) as connection:
            session = Session(bind=connection, join_transaction_mode="control_fully")
            before = digests(session)
            kept = _kept(session)
            _empty(session)
            _apply_all(session, kept)
            after = digests(session)
            if not keep:
                connection.rollback()
    except SQLAlchemyError as error:
        raise trouble(url, error) from error
    return [Model(name, after[name][0], before[name][1], after[name][1]) for name in MODELS]


def digests(session: Session) -> dict[str, tuple[int, str]]:
    """Per model the number of rows and SHA-256 over them, one canonical line a row, in an order of their own."""
    return {name: _digest(session, model) for name, model in MODELS.items()}


def _digest(session: Session, model: type[SQLModel]) -> tuple[int, str]:
    table = _table(model)
    keys = list(table.primary_key.columns)
    numbered = isinstance(keys[0].type, Integer)
    beside = {"id"} if numbered else _BESIDE.get(table.name, set())
    told = [column for column in table.columns if column.name not in beside]
    order = keys if numbered or session.get_bind().dialect.name == "sqlite" else [key.collate("C") for key in keys]
    digest, count = hashlib.sha256(), 0
    rows = session.connection().execute(select(*told).order_by(*order).execution_options(yield_per=_AT_ONCE))
    for row in rows.mappings():
        digest.update(f"{canonical(dict(row))}\n".encode())
        count += 1
    return count, digest.hexdigest()


@dataclass(frozen=True)
class _Kept:
    """What of a run no event holds: until when its controller vouches, and the record that older versions froze beside the events."""

    lease_until: str | None
    record: str


def _kept(session: Session) -> dict[str, _Kept]:
    vouched = session.connection().execute(select(RunRow.id, RunRow.lease_until, RunRow.record))  # type: ignore[call-overload]
    return {run: _Kept(lease, record) for run, lease, record in vouched}


def _empty(session: Session) -> None:
    """Parts first: they point to their runs."""
    for model in reversed(MODELS.values()):
        session.connection().execute(delete(_table(model)))


def _apply_all(session: Session, kept: dict[str, _Kept]) -> None:
    models, older, undone = ReadModels(session.connection(), session), {}, _undone(session)
    for event in _events(session):
        if event["seq"] in undone:
            continue
        if event["action"] == "run.opened" and "record" not in event["body"]:
            older[event["run"]] = _older_record(event, kept)
            event["body"]["record"] = json.loads(older[event["run"]])
        models.take(event)
        if event["seq"] % _AT_ONCE == 0:
            models.flush()
            session.flush()
            session.expunge_all()
    models.flush()
    for run, one in kept.items():
        row = session.get(RunRow, run)
        if row:
            row.lease_until, row.record = one.lease_until, older.get(run, row.record)
    session.flush()


def _events(session: Session) -> Iterator[dict[str, Any]]:
    after = 0
    told = sqlmodel.select(EventRow.seq, EventRow.body).order_by(col(EventRow.seq)).limit(_AT_ONCE)
    while bodies := session.exec(told.where(EventRow.seq > after)).all():
        after = bodies[-1][0]
        yield from (json.loads(body) for _, body in bodies if body)


def _undone(session: Session) -> set[int]:
    """Archives that were put back later, by their events: what they took out is told by the events themselves again."""
    told = sqlmodel.select(EventRow.seq, EventRow.body).where(col(EventRow.action).in_([ARCHIVED, RESTORED]))
    standing: dict[int, int] = {}
    undone: set[int] = set()
    for seq, text in session.exec(told.order_by(col(EventRow.seq))):
        body = json.loads(text)["body"]
        if body["first_seq"] in standing:
            undone |= {standing.pop(body["first_seq"]), seq}
        else:
            standing[body["first_seq"]] = seq
    return undone


def _older_record(event: Plain, kept: dict[str, _Kept]) -> str:
    """The record that a run of an older version froze beside its events, if it is the one the event names."""
    run = event["run"]
    text = kept[run].record if run in kept else ""
    if hashlib.sha256(text.encode()).hexdigest() != event["body"].get("record_sha256"):
        raise AuditError(f"run {run} cannot be rebuilt: what it was opened with is not what event {event['seq']} says")
    return text


def _table(model: type[SQLModel]) -> Table:
    return model.__table__  # type: ignore[attr-defined,no-any-return]
