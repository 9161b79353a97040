"""The history's tables: events that are never changed, and what is read most often, written in the same transaction."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, text
from sqlmodel import Field, SQLModel, UniqueConstraint


def _partial(name: str, columns: tuple[str, ...], where: str) -> Index:
    """An index that holds only the rows a question is about: it costs the others nothing."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


class EventRow(SQLModel, table=True):
    """One event; the hash covers the one before, so a change anywhere shows."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_run", "run", "seq"),
        _partial("ix_event_missed", ("run",), "action = 'run.missed'"),
        _partial("ix_event_course", ("run", "seq"), "host = ''"),
    )

    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: str
    run: str
    action: str
    host: str = ""
    body: str
    prev_hash: str = Field(unique=True)
    hash: str = Field(unique=True)


class RunRow(SQLModel, table=True):
    """One run."""

    __tablename__ = "run"

    id: str = Field(primary_key=True)
    runbook: str
    actor: str
    source: str
    reason: str
    ticket: str
    plan: str
    plan_hash: str
    of_run: str
    record: str
    process: str
    started_at: str = Field(index=True)
    ended_at: str | None = None
    outcome: str | None = None
    outcome_reason: str = ""
    stop_requested: str | None = None
    flow_run_id: str = Field(default="", index=True)
    lease_until: str | None = None


class StageRow(SQLModel, table=True):
    """One stage of a run."""

    __tablename__ = "run_stage"
    __table_args__ = (UniqueConstraint("run", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    run: str = Field(index=True, foreign_key="run.id")
    name: str
    hosts: str
    opened_at: str
    closed_at: str | None = None
    verdict: str | None = None
    reason: str = ""


class HostRow(SQLModel, table=True):
    """One host in a run."""

    __tablename__ = "run_host"

    run: str = Field(primary_key=True, foreign_key="run.id")
    host: str = Field(primary_key=True, index=True)
    stage: str = ""
    current_step: str = ""
    outcome: str | None = None
    failure_class: str | None = None
    from_version: str | None = None
    to_version: str | None = None
    reason: str = ""
    remedy: str = ""


class StepRow(SQLModel, table=True):
    """One try of one step on one host; without an end nobody knows what came of it."""

    __tablename__ = "step_attempt"
    __table_args__ = (
        Index("ix_step_attempt_try", "run", "host", "step", "attempt", "happening"),
        _partial("ix_step_attempt_again", ("run", "host", "step", "attempt"), "attempt > 1"),
    )

    id: int | None = Field(default=None, primary_key=True)
    run: str = Field(foreign_key="run.id")
    host: str
    step: str
    attempt: int
    intent_at: str
    ended_at: str | None = None
    happening: str
    reason: str = ""
    body: str = "{}"


class FindingRow(SQLModel, table=True):
    """One finding; `phase` says when it was asked: check, baseline, verify, watch, rollback."""

    __tablename__ = "finding"
    __table_args__ = (
        Index("ix_finding_host", "run", "host", "phase"),
        _partial("ix_finding_objection", ("run", "verdict"), "verdict <> 'pass'"),
    )

    id: int | None = Field(default=None, primary_key=True)
    run: str = Field(foreign_key="run.id")
    host: str
    phase: str
    at: str
    verdict: str
    finding: str


class BackupRow(SQLModel, table=True):
    """One backup on the controller."""

    __tablename__ = "backup"

    id: int | None = Field(default=None, primary_key=True)
    run: str = Field(index=True, foreign_key="run.id")
    host: str = Field(index=True)
    path: str
    size_bytes: int = Field(sa_type=BigInteger)
    sha256: str
    files: int
    taken_at: str
    verified: bool


class ReleaseSeenRow(SQLModel, table=True):
    """The newest release sequence accepted per channel and key: an older one is refused."""

    __tablename__ = "release_seen"

    channel: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    release_seq: int = Field(sa_type=BigInteger)
    run: str


class CheckpointRow(SQLModel, table=True):
    """One signed checkpoint; `exported_to` says where its copy lies, empty while there is none."""

    __tablename__ = "checkpoint"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    upto_seq: int
    n: int
    head_hash: str
    hashes_sha256: str
    at: str
    key_id: str
    prev_sig: str = Field(unique=True)
    sig: str = Field(unique=True)
    exported_to: str = ""


class DeliveryRow(SQLModel, table=True):
    """One webhook a ticket system sent: a hint to look at the ticket. `delivery` tells it from its repetitions."""

    __tablename__ = "delivery"
    __table_args__ = (UniqueConstraint("source", "delivery"), Index("ix_delivery_due", "state", "next_at"))

    id: int | None = Field(default=None, primary_key=True)
    source: str
    delivery: str
    ticket: str = Field(index=True)
    body_sha256: str
    received_at: str
    state: str
    reason: str = ""
    plan_hash: str = ""
    flow_run_id: str = ""
    next_at: str
    attempts: int = 0
    held_until: str | None = None
    judged_at: str | None = None


class OutboxRow(SQLModel, table=True):
    """One thing to send to another system; `key` is what it must not be sent twice for."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_due", "sent_at", "next_at"),)

    id: int | None = Field(default=None, primary_key=True)
    kind: str
    key: str = Field(unique=True)
    target: str
    body: str
    put_at: str
    next_at: str
    last_error: str = ""
    attempts: int = 0
    held_until: str | None = None
    sent_at: str | None = None
    given_up_at: str | None = None


class PersonRow(SQLModel, table=True):
    """One person; a token whose hash is not here is nobody's."""

    __tablename__ = "person"

    name: str = Field(primary_key=True)
    roles: str
    logins: str
    token_sha256: str = Field(unique=True)
    added_at: str
    revoked_at: str | None = None


class ShardRow(SQLModel, table=True):
    """One flow run that was started to work on a run's hosts; `seen_at` is its last word, none when it never had one."""

    __tablename__ = "shard"

    id: int | None = Field(default=None, primary_key=True)
    run: str = Field(index=True)
    process: str = ""
    started_at: str
    seen_at: str | None = None
    ended_at: str | None = None


class ShardOrderRow(SQLModel, table=True):
    """One order of a run's engine for one host; whoever answers it needs the newest `fence`."""

    __tablename__ = "shard_order"
    __table_args__ = (Index("ix_shard_order_open", "run", "answered_at"),)

    id: int | None = Field(default=None, primary_key=True)
    run: str
    kind: str
    host: str
    lane: int
    body: str
    put_at: str
    shard: int | None = None
    fence: int = 0
    held_until: str | None = None
    answer: str = ""
    answered_at: str | None = None
    collected_at: str | None = None


class ArchiveRow(SQLModel, table=True):
    """One stretch of events whose texts lie in a file; what is `at` and `by` is when and by whom they were taken out."""

    __tablename__ = "archive"

    first_seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    upto_seq: int
    first_at: str
    last_at: str
    file: str
    sha256: str
    size_bytes: int = Field(sa_type=BigInteger)
    at: str
    by: str
    reason: str


class ArchivedRunRow(SQLModel, table=True):
    """One run that lies in an archive."""

    __tablename__ = "archived_run"

    id: str = Field(primary_key=True)
    archive: int = Field(index=True, foreign_key="archive.first_seq")
    runbook: str
    plan: str
    actor: str
    ticket: str
    outcome: str
    started_at: str
    ended_at: str
    hosts: int


class ArtifactRow(SQLModel, table=True):
    """One archive of the release that a run was opened with."""

    __tablename__ = "artifact"

    id: int | None = Field(default=None, primary_key=True)
    run: str = Field(index=True, foreign_key="run.id")
    product: str
    version: str
    os: str
    arch: str
    libc: str
    url: str
    sha256: str
    size_bytes: int = Field(sa_type=BigInteger)


class ArtifactDeliveryRow(SQLModel, table=True):
    """One archive on its way to one host; `instead_of` is the way that did not work, `happening` what came of it."""

    __tablename__ = "artifact_delivery"
    __table_args__ = (Index("ix_artifact_delivery_host", "run", "host"),)

    id: int | None = Field(default=None, primary_key=True)
    run: str = Field(foreign_key="run.id")
    host: str
    sha256: str
    way: str
    instead_of: str
    at: str
    happening: str
    size_bytes: int = Field(sa_type=BigInteger)
    tries: int
