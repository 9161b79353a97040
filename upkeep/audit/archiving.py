"""Taking old events out of the database: whole sealed stretches, written to a file and proved there before a text goes; hashes stay."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import Any

from sqlalchemy import exists, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, func, select

from upkeep.audit.archive_file import Archive, parts, read_archive, row_of, write_archive
from upkeep.audit.chain import ARCHIVED, GONE, RESTORED
from upkeep.audit.checkpoint import Checkpoint
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.database import trouble, writing
from upkeep.audit.history import History
from upkeep.audit.queries import Queries, as_written
from upkeep.audit.rebuilding import rebuild
from upkeep.audit.tables import ArchivedRunRow, ArchiveRow, CheckpointRow, EventRow, HostRow, RunRow
from upkeep.domain.record import Actor
from upkeep.errors import AuditError, BadInput

Span = tuple[int, int | None]
"""First and last event of a run; none is the last while it is open."""
MOST_EVENTS = 50_000
"""More than that in one file only where a run's events are more: no run is cut in two."""
STAYS = ("release.accepted",)
"""Of a run, and needed for longer than it: which release was the newest."""
_KEPT = {"id", "runbook", "plan", "actor", "ticket", "outcome", "started_at", "ended_at"}
_AT_ONCE = 2_000
_TEXT_OUT = (
    update(EventRow)
    .where(col(EventRow.run).in_(select(ArchivedRunRow.id)), col(EventRow.action).not_in(STAYS))
    .values(dict(zip(("at", "run", "action", "host"), GONE, strict=True)) | {"body": ""})
)
_TEXT_IN = text(
    "UPDATE event SET at = :at, run = :run, action = :action, host = :host, body = :body "
    "WHERE seq = :seq AND hash = :hash AND body = ''"
)


@dataclass(frozen=True)
class Stretch:
    """Checkpoints in a row, and the runs that lie wholly within their events."""

    sealing: tuple[Checkpoint, ...]
    runs: tuple[str, ...]

    @property
    def first_seq(self) -> int:
        """Its first event."""
        return self.sealing[0].upto_seq - self.sealing[0].n + 1

    @property
    def upto_seq(self) -> int:
        """Its last event."""
        return self.sealing[-1].upto_seq


@dataclass(frozen=True)
class Planned:
    """What can be archived, and why nothing more; `why` is empty when all up to the date can."""

    stretches: tuple[Stretch, ...]
    why: str = ""


def plan(history: History, before: datetime) -> Planned:
    """Which stretches of events from before a moment can be archived: sealed, copied elsewhere, and no run cut in two.

    Raises:
        AuditError: the history cannot be read.
    """
    with history.reading() as session:
        sealing = _next_sealing(session, before)
        spans = _spans(session)
    copied = [Checkpoint.of(row) for row in takewhile(lambda row: row.exported_to, sealing)]
    astride = list(_astride(spans, copied))
    cuts = [number for number, run in enumerate(astride) if not run]
    why = "" if sealing else "no signed checkpoint of that time seals events that are not archived yet"
    if len(copied) < len(sealing):
        why = f"checkpoint {sealing[len(copied)].id} has no copy outside the database yet"
    if astride and astride[-1]:
        why = f"run {astride[-1]} is not over, or went on after that time"
    stretches = _stretches(spans, copied, cuts)
    return Planned(tuple(one for one in stretches if one.runs), why)


def archive(
    history: History, checkpoints: Checkpoints, stretch: Stretch, folder: Path, *, actor: Actor, reason: str
) -> Archive:
    """Write one stretch to a file in `folder`, prove the file, then take the texts of its runs out of the database.

    Broken off at any moment, the file is there and nothing was taken out, or `finish` ends what was begun.

    Raises:
        AuditError: the history is not whole there, the file cannot be written, or the database cannot be used.
    """
    runs = _told(history, stretch)
    path = write_archive(history, checkpoints.keys, stretch.sealing, runs, folder).absolute()
    made = read_archive(path, checkpoints.keys.publics())
    body: dict[str, Any] = {"first_seq": made.first_seq, "upto_seq": made.upto_seq, "file": str(path)}
    body |= {"sha256": made.sha256, "size_bytes": made.size_bytes, "sealed_by": stretch.sealing[-1].id}
    body |= {"first_at": made.first_at, "last_at": made.last_at, "runs": runs}
    history.record("", ARCHIVED, reason=reason, body=body, actor=actor)
    finish(history)
    checkpoints.make()
    return made


def finish(history: History) -> int:
    """Take out the texts of what was archived and is still in the database; how many there were."""
    left = exists(select(EventRow.seq).where(EventRow.run == ArchivedRunRow.id, col(EventRow.action).not_in(STAYS)))
    begun = select(ArchiveRow).where(col(ArchiveRow.first_seq).in_(select(ArchivedRunRow.archive).where(left)))
    with history.reading() as session:
        stretches = [(row.first_seq, row.upto_seq) for row in session.exec(begun)]
    gone = 0
    for first, upto in stretches:
        for start in range(first, upto + 1, _AT_ONCE):
            within = col(EventRow.seq).between(start, min(start + _AT_ONCE - 1, upto))
            gone += _changed(history, _TEXT_OUT.where(within))
    return gone


def restore(history: History, archive: Archive, actor: Actor, reason: str) -> None:
    """Put an archive's texts back where they were, and read them into the models again.

    Raises:
        BadInput: the history has not archived this.
        AuditError: the file is not the one that was archived, or the database cannot be used.
    """
    row = next((one for one in history.archives() if one.first_seq == archive.first_seq), None)
    if row is None:
        raise BadInput("these events are not archived", found=archive.path.name, remedy="see `upkeep history archived`")
    with history.event_rows(after=archive.first_seq - 1, upto=archive.upto_seq) as rows:
        same = all(row and line and row.hash == line.hash for row, line in zip_longest(rows, archive.lines()))
    if not same:
        raise AuditError(f"{archive.path} is not what was archived here: its events have other hashes")
    for part in parts(archive.lines()):
        _changed(history, _TEXT_IN, [row_of(line) for line in part])
    body = {"first_seq": row.first_seq, "upto_seq": row.upto_seq, "file": str(archive.path), "sha256": archive.sha256}
    history.record("", RESTORED, reason=reason, body=body, actor=actor)
    rebuild(history)


def _next_sealing(session: Session, before: datetime) -> list[CheckpointRow]:
    """The first checkpoints in a row, signed before then, whose events are in no archive."""
    taken = [(row.first_seq, row.upto_seq) for row in session.exec(select(ArchiveRow))]
    wanted = select(CheckpointRow).where(CheckpointRow.at < as_written(before))
    row_of_them: list[CheckpointRow] = []
    for one in session.exec(wanted.order_by(col(CheckpointRow.id))):
        if not any(first <= one.upto_seq <= upto for first, upto in taken):
            row_of_them.append(one)
        elif row_of_them:
            break
    return row_of_them


def _spans(session: Session) -> dict[str, Span]:
    """Of every run that is in the database."""
    ends = select(EventRow.run, func.min(EventRow.seq), func.max(EventRow.seq)).group_by(EventRow.run)
    known = dict(session.exec(select(RunRow.id, RunRow.outcome)).all())
    return {run: (first, last if known[run] else None) for run, first, last in session.exec(ends) if run in known}


def _astride(spans: Mapping[str, Span], checkpoints: Iterable[Checkpoint]) -> Iterator[str]:
    """Per checkpoint a run that began up to there and ended later, or has not ended; empty where there is none."""
    begun = sorted(((first, math.inf if last is None else last), run) for run, (first, last) in spans.items())
    reach, who, number = -math.inf, "", 0
    for one in checkpoints:
        while number < len(begun) and begun[number][0][0] <= one.upto_seq:
            (_, last), run = begun[number]
            reach, who = max((reach, who), (last, run))
            number += 1
        yield who if reach > one.upto_seq else ""


def _stretches(spans: Mapping[str, Span], checkpoints: Sequence[Checkpoint], cuts: Sequence[int]) -> Iterator[Stretch]:
    start = 0
    while start < len(checkpoints) and (cut := _cut(checkpoints, cuts, start)) is not None:
        part = tuple(checkpoints[start : cut + 1])
        begin, upto = part[0].upto_seq - part[0].n, part[-1].upto_seq
        inside = (run for run, (first, last) in spans.items() if begin < first and last is not None and last <= upto)
        yield Stretch(part, tuple(inside))
        start = cut + 1


def _cut(checkpoints: Sequence[Checkpoint], cuts: Sequence[int], start: int) -> int | None:
    """Where the stretch from `start` on ends: as late as its size allows."""
    later = [cut for cut in cuts if cut >= start]
    begin = checkpoints[start].upto_seq - checkpoints[start].n
    small = [cut for cut in later if checkpoints[cut].upto_seq - begin <= MOST_EVENTS]
    return small[-1] if small else next(iter(later), None)


def _told(history: History, stretch: Stretch) -> list[dict[str, Any]]:
    """What stays known of the runs; one whose record no event holds is told in the database only, and stays there."""
    with history.reading() as session:
        opened = select(EventRow.run, EventRow.body).where(EventRow.action == "run.opened")
        between = col(EventRow.seq).between(stretch.first_seq, stretch.upto_seq)
        whole = {run for run, body in session.exec(opened.where(between)) if "record" in json.loads(body)["body"]}
        hosts = dict(session.exec(select(HostRow.run, func.count()).group_by(HostRow.run)).all())
        rows = [session.get_one(RunRow, run) for run in stretch.runs if run in whole]
        return [row.model_dump(include=_KEPT) | {"hosts": hosts.get(row.id, 0)} for row in rows]


def _changed(history: Queries, statement: Any, rows: Sequence[dict[str, Any]] | None = None) -> int:  # noqa: ANN401 - SQL
    """One short transaction: whoever writes events meanwhile waits for no more than that."""
    engine, url = history.database
    try:
        with writing(engine) as connection:
            return connection.execute(statement, rows).rowcount
    except SQLAlchemyError as error:
        raise trouble(url, error) from error
