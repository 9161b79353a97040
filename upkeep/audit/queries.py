"""Questions to the history."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnClause, ColumnElement, Engine, literal_column
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from upkeep.audit.chain import ChainState, verify_chain
from upkeep.audit.checkpoint import Checkpoint
from upkeep.audit.database import trouble
from upkeep.audit.reading import (
    BackupDetail,
    DeliveryDetail,
    FindingDetail,
    MissedStart,
    RunDetail,
    RunSummary,
    StepDetail,
    StepTimes,
)
from upkeep.audit.tables import (
    ArchivedRunRow,
    ArchiveRow,
    ArtifactDeliveryRow,
    ArtifactRow,
    BackupRow,
    CheckpointRow,
    EventRow,
    FindingRow,
    HostRow,
    ReleaseSeenRow,
    RunRow,
    StageRow,
    StepRow,
)
from upkeep.domain.change import Step
from upkeep.domain.finding import Finding
from upkeep.domain.record import Event
from upkeep.errors import BadInput

_AT_ONCE = 1000
OF_NO_HOST: ColumnElement[bool] = col(EventRow.host) == literal_column("''")
_MISSED: ColumnClause[str] = literal_column("'run.missed'")
"""Written out, since only then a database sees that a partial index holds all that is asked for."""


class Queries:
    """Reads; raises AuditError when the database cannot be used."""

    def __init__(self, engine: Engine, url: str) -> None:
        self._engine, self._url = engine, url

    @property
    def database(self) -> tuple[Engine, str]:
        """The engine and its address, for what is kept beside the history."""
        return self._engine, self._url

    def runs(self, *, limit: int = 50, host: str = "", outcome: str = "") -> list[RunSummary]:
        """Runs, newest first."""
        wanted = select(RunRow).order_by(col(RunRow.started_at).desc(), col(RunRow.id).desc()).limit(limit)
        if host:
            wanted = wanted.where(col(RunRow.id).in_(select(HostRow.run).where(HostRow.host == host)))
        if outcome:
            wanted = wanted.where(RunRow.outcome == outcome)
        with self._reading() as session:
            rows = session.exec(wanted).all()
            hosts: dict[str, list[HostRow]] = defaultdict(list)
            for row in session.exec(select(HostRow).where(col(HostRow.run).in_([row.id for row in rows]))):
                hosts[row.run].append(row)
            return [RunSummary.of(row, hosts[row.id]) for row in rows]

    def run(self, run_id: str) -> RunDetail:
        """One run by id, by a unique beginning of one, or `last`.

        Raises:
            BadInput: there is none, or there are several.
        """
        with self._reading() as session:
            row = self._find(session, run_id)
            hosts = session.exec(select(HostRow).where(HostRow.run == row.id).order_by(HostRow.host)).all()
            stages = session.exec(select(StageRow).where(StageRow.run == row.id).order_by(col(StageRow.id))).all()
            return RunDetail.of(row, list(hosts), list(stages))

    def record_text(self, run_id: str) -> str:
        """The run as it was frozen, exactly as stored: its SHA-256 is in the event that opened the run."""
        with self._reading() as session:
            return self._find(session, run_id).record

    def find_run(self, run_id: str) -> RunDetail | None:
        """The run with exactly this id, if this history knows it."""
        with self._reading() as session:
            known = session.get(RunRow, run_id) is not None
        return self.run(run_id) if known else None

    def run_of_flow(self, flow_run_id: str) -> RunDetail | None:
        """The run that a flow run at the Prefect server conducts, if there is one."""
        with self._reading() as session:
            run_id = session.exec(select(RunRow.id).where(RunRow.flow_run_id == flow_run_id)).first()
        return self.run(run_id) if run_id else None

    def open_runs(self) -> list[RunDetail]:
        """Runs without an outcome, oldest first."""
        with self._reading() as session:
            wanted = select(RunRow.id).where(col(RunRow.outcome).is_(None)).order_by(col(RunRow.started_at))
            run_ids = session.exec(wanted).all()
        return [self.run(run_id) for run_id in run_ids]

    def stop_requested(self, run_id: str) -> str | None:
        """Why the run was asked to stop; None when it was not."""
        with self._reading() as session:
            return session.exec(select(RunRow.stop_requested).where(RunRow.id == run_id)).first()

    def events(self, run_id: str) -> list[Event]:
        """A run's events in order."""
        with self._reading() as session:
            rows = session.exec(select(EventRow).where(EventRow.run == run_id).order_by(col(EventRow.seq))).all()
            return [Event.model_validate_json(row.body) for row in rows]

    def missed_starts(self, *, limit: int = 50) -> list[MissedStart]:
        """Starts that were planned and did not happen, newest first."""
        with self._reading() as session:
            named = select(EventRow.run).where(EventRow.action == _MISSED).distinct()
            newest = session.exec(named.order_by(col(EventRow.run).desc()).limit(limit)).all()
            rows = session.exec(
                select(EventRow).where(col(EventRow.run).in_(newest)).order_by(col(EventRow.seq).desc())
            ).all()
        first = {row.run: row.body for row in rows}
        return [MissedStart.of(Event.model_validate_json(first[name])) for name in newest]

    def steps(self, run_id: str, host: str = "") -> list[StepDetail]:
        """Every try of every step, in the order they began."""
        wanted = select(StepRow).where(StepRow.run == run_id).order_by(col(StepRow.id))
        with self._reading() as session:
            return [StepDetail.of(row) for row in session.exec(wanted.where(StepRow.host == host) if host else wanted)]

    def step_times(self, runbooks: Collection[str], hosts: Collection[str], *, newest: int = 2000) -> StepTimes:
        """How long changes (lock to commit) and rollbacks of these hosts took in runs of these runbooks, of the newest steps."""
        wanted = select(StepRow).where(
            col(StepRow.run).in_(select(RunRow.id).where(col(RunRow.runbook).in_(runbooks))),
            col(StepRow.step).in_([Step.LOCK.value, Step.COMMIT.value, Step.ROLLBACK.value]),
            StepRow.happening == "ok",
        )
        with self._reading() as session:
            rows = session.exec(wanted.order_by(col(StepRow.id).desc()).limit(newest)).all()
        return StepTimes.of(row for row in reversed(rows) if row.host in hosts)

    def facts_of(self, run_id: str, host: str) -> dict[str, Any]:
        """What the newest finished check of a host wrote down about it; empty when there was none."""
        wanted = select(StepRow.body).where(
            StepRow.run == run_id, StepRow.host == host, StepRow.step == Step.CHECK.value
        )
        with self._reading() as session:
            newest = session.exec(wanted.where(StepRow.happening == "ok").order_by(col(StepRow.id).desc())).first()
            return dict(json.loads(newest or "{}").get("facts", {}))

    def findings_of(self, run_id: str, host: str, phase: str = "") -> list[FindingDetail]:
        """What was found on a host, in the order it was found."""
        wanted = (
            select(FindingRow).where(FindingRow.run == run_id, FindingRow.host == host).order_by(col(FindingRow.id))
        )
        with self._reading() as session:
            rows = session.exec(wanted.where(FindingRow.phase == phase) if phase else wanted).all()
            return [
                FindingDetail.model_validate(
                    {"phase": r.phase, "at": r.at, "finding": Finding.model_validate(json.loads(r.finding))}
                )
                for r in rows
            ]

    def backups(self, run_id: str, host: str = "") -> list[BackupDetail]:
        """A run's backups on the controller."""
        wanted = select(BackupRow).where(BackupRow.run == run_id).order_by(col(BackupRow.id))
        with self._reading() as session:
            rows = session.exec(wanted.where(BackupRow.host == host) if host else wanted).all()
            return [BackupDetail.model_validate(row.model_dump()) for row in rows]

    def deliveries(self, run_id: str, host: str) -> list[DeliveryDetail]:
        """How archives of the release reached a host in a run, in order."""
        named = select(ArtifactRow.sha256, ArtifactRow.url).where(ArtifactRow.run == run_id)
        wanted = select(ArtifactDeliveryRow).where(ArtifactDeliveryRow.run == run_id, ArtifactDeliveryRow.host == host)
        with self._reading() as session:
            urls = dict(session.exec(named).all())
            rows = session.exec(wanted.order_by(col(ArtifactDeliveryRow.id))).all()
            return [DeliveryDetail.model_validate(r.model_dump() | {"url": urls.get(r.sha256, "")}) for r in rows]

    def backups_of_host(self, host: str) -> list[BackupDetail]:
        """Every backup of one host on the controller, the newest last."""
        wanted = select(BackupRow).where(BackupRow.host == host).order_by(col(BackupRow.taken_at), col(BackupRow.id))
        with self._reading() as session:
            return [BackupDetail.model_validate(row.model_dump()) for row in session.exec(wanted).all()]

    def release_seq_seen(self, channel: str, key_id: str) -> int | None:
        """The newest release sequence accepted for a channel and key."""
        with self._reading() as session:
            row = session.get(ReleaseSeenRow, (channel, key_id))
            return row.release_seq if row else None

    def checkpoint_rows(self) -> list[CheckpointRow]:
        """Every checkpoint in order, and where its copy lies."""
        with self._reading() as session:
            return list(session.exec(select(CheckpointRow).order_by(col(CheckpointRow.id))))

    def checkpoints(self) -> list[Checkpoint]:
        """Every checkpoint in order."""
        return [Checkpoint.of(row) for row in self.checkpoint_rows()]

    @contextmanager
    def event_rows(
        self, *, after: int = 0, upto: int | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Iterator[EventRow]]:
        """The rows of events with their hashes, in order, a thousand at a time; above `after`, up to `upto` with it; since, before.

        A period leaves out what was archived: `archives` says where that lies.
        """
        wanted = select(EventRow).where(EventRow.seq > after).order_by(col(EventRow.seq))
        if upto is not None:
            wanted = wanted.where(EventRow.seq <= upto)
        if since is not None:
            wanted = wanted.where(EventRow.at >= as_written(since))
        if until is not None:
            wanted = wanted.where(EventRow.at < as_written(until), EventRow.at != "")
        with self._reading() as session:
            yield iter(session.exec(wanted.execution_options(yield_per=_AT_ONCE)))

    def archives(self) -> list[ArchiveRow]:
        """What lies in archives now, in order."""
        with self._reading() as session:
            return list(session.exec(select(ArchiveRow).order_by(col(ArchiveRow.first_seq))))

    def archived_runs(self, first_seq: int) -> list[ArchivedRunRow]:
        """The runs of the archive that begins with an event, in order."""
        wanted = select(ArchivedRunRow).where(ArchivedRunRow.archive == first_seq)
        with self._reading() as session:
            return list(session.exec(wanted.order_by(ArchivedRunRow.started_at, ArchivedRunRow.id)))

    def archive_of(self, run_id: str) -> ArchiveRow | None:
        """The archive in which a run lies; None when it lies in none."""
        with self._reading() as session:
            run = session.get(ArchivedRunRow, run_id)
            return session.get(ArchiveRow, run.archive) if run else None

    def verify(self) -> ChainState:
        """Walk the whole chain."""
        with self.event_rows() as rows:
            return verify_chain(rows)

    def reading(self) -> AbstractContextManager[Session]:
        """A session to read what others keep beside the events."""
        return self._reading()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        try:
            with Session(self._engine) as session:
                yield session
        except SQLAlchemyError as error:
            raise trouble(self._url, error) from error

    def _find(self, session: Session, run_id: str) -> RunRow:
        newest = select(RunRow).order_by(col(RunRow.started_at).desc(), col(RunRow.id).desc())
        if run_id == "last":
            row = session.exec(newest.limit(1)).first()
            if row is None:
                raise BadInput("the history is empty", remedy="start a run: upkeep run maintenance -i … -p …")
            return row
        rows = session.exec(newest.where(col(RunRow.id).startswith(run_id, autoescape=True)).limit(6)).all()
        exact = [row for row in rows if row.id == run_id]
        if exact or len(rows) == 1:
            return (exact or list(rows))[0]
        if archived := session.get(ArchivedRunRow, run_id):
            file = session.get_one(ArchiveRow, archived.archive).file
            raise BadInput(
                f"run {run_id} was archived: its events lie in {file}",
                remedy=f"upkeep history show {run_id} --archive FILE reads it there; upkeep history restore FILE puts it back",
            )
        known = (
            ", ".join(row.id for row in rows)
            or ", ".join(row.id for row in session.exec(newest.limit(3)))
            or "none yet"
        )
        problem = f"several runs begin with '{run_id}'" if rows else f"there is no run '{run_id}'"
        raise BadInput(
            problem,
            allowed=f"a run id, a unique beginning of one, or last; e.g. {known}",
            remedy="see `upkeep history list`",
        )


def as_written(moment: datetime) -> str:
    """A moment as events hold it, so that texts compare as times do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
