"""What each kind of event changes in the read models: by the event as it was written, and by nothing else.

So the models can be made anew from the events alone. Events of many hosts are applied together: what they have in common is
one statement for all of them; an event that could depend on one that is still to be applied waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, delete
from sqlmodel import Session, col, select

from upkeep.audit.chain import ARCHIVED, RESTORED, canonical
from upkeep.audit.plain_sql import PlainSql
from upkeep.audit.tables import (
    ArchivedRunRow,
    ArchiveRow,
    ArtifactDeliveryRow,
    ArtifactRow,
    BackupRow,
    FindingRow,
    HostRow,
    ReleaseSeenRow,
    RunRow,
    StageRow,
    StepRow,
)
from upkeep.domain.change import Step
from upkeep.errors import AuditError

Plain = Mapping[str, Any]
"""An event as its canonical JSON says it."""
Change = Callable[[Session, str], None]
"""What an event changes in tables that others keep, given the moment it happened."""

_AT_ONCE = 500
_FINDINGS = PlainSql.insert("finding", "run", "host", "phase", "at", "verdict", "finding")
_BACKUPS = PlainSql.insert("backup", "run", "host", "path", "size_bytes", "sha256", "files", "taken_at", "verified")
_DELIVERIES = PlainSql.insert(
    "artifact_delivery", "run", "host", "sha256", "way", "instead_of", "at", "happening", "size_bytes", "tries"
)
_PARTS: tuple[type[Any], ...] = (
    ArtifactDeliveryRow,
    ArtifactRow,
    BackupRow,
    FindingRow,
    StepRow,
    HostRow,
    StageRow,
)
_BEGUN = PlainSql("""
INSERT INTO step_attempt (run, host, step, attempt, intent_at, happening, reason, body)
SELECT CAST(:run AS VARCHAR), CAST(:host AS VARCHAR), CAST(:step AS VARCHAR), count(*) + 1, CAST(:at AS VARCHAR), 'intent', '', '{}'
FROM step_attempt WHERE run = CAST(:run AS VARCHAR) AND host = CAST(:host AS VARCHAR) AND step = CAST(:step AS VARCHAR)
""")  # PostgreSQL wants to be told once and the same each time
_AT_STEP = PlainSql("""
INSERT INTO run_host (run, host, stage, current_step, reason, remedy) VALUES (:run, :host, :stage, :step, '', '')
ON CONFLICT (run, host) DO UPDATE SET current_step = excluded.current_step,
stage = CASE WHEN excluded.stage = '' THEN run_host.stage ELSE excluded.stage END
""")
_ENDED = PlainSql("""
UPDATE step_attempt SET ended_at = :at, happening = :happening, reason = :reason, body = :body
WHERE id = (SELECT max(id) FROM step_attempt WHERE run = :run AND host = :host AND step = :step AND ended_at IS NULL)
""")  # the newest try without a result: one host belongs to one process at a time
_RESULT = PlainSql("""
INSERT INTO run_host (run, host, stage, current_step, outcome, failure_class, from_version, to_version, reason, remedy)
VALUES (:run, :host, :stage, '', :outcome, :failure_class, :from_version, :to_version, :reason, :remedy)
ON CONFLICT (run, host) DO UPDATE SET stage = CASE WHEN excluded.stage = '' THEN run_host.stage ELSE excluded.stage END,
outcome = excluded.outcome, failure_class = excluded.failure_class, reason = excluded.reason, remedy = excluded.remedy,
from_version = coalesce(excluded.from_version, run_host.from_version),
to_version = coalesce(excluded.to_version, run_host.to_version)
""")


def nothing(_session: Session, _at: str) -> None:
    """Only the event itself."""


class ReadModels:
    """Applies events in order, many hosts' together; `flush` before anything else looks, `end` before the commit."""

    def __init__(self, connection: Connection, session: Session | None = None) -> None:
        self._connection = connection
        self._session = session
        self._waiting: dict[str, list[Plain]] = {}
        self._kind_of: dict[tuple[str, str], str] = {}

    @property
    def session(self) -> Session:
        """The objects of this transaction; most events need none."""
        if self._session is None:
            self._session = Session(bind=self._connection, join_transaction_mode="control_fully")
        return self._session

    def take(self, event: Plain) -> None:
        """Bring the models from before the event to after it, at the latest with `flush`.

        Raises:
            AuditError: an event cannot follow what is there.
        """
        kind = _kind(event)
        if kind in _OF_HOSTS:
            host = (event["run"], event["host"])
            if self._kind_of.get(host, kind) != kind:
                self.flush()
            self._kind_of[host] = kind
            self._waiting.setdefault(kind, []).append(event)
        elif kind:
            self.flush()
            _ALONE[kind](self.session, event)

    def flush(self) -> None:
        """Apply what waits.

        Raises:
            AuditError: an event cannot follow what is there.
        """
        if not self._waiting:
            return
        self._flush_objects()
        waiting, self._waiting = self._waiting, {}
        self._kind_of.clear()
        for kind, events in waiting.items():
            _OF_HOSTS[kind](self._connection, events)

    def end(self) -> None:
        """Apply everything.

        Raises:
            AuditError: an event cannot follow what is there.
        """
        self.flush()
        self._flush_objects()

    def _flush_objects(self) -> None:
        if self._session is not None:
            self._session.flush()


def at_of(event: Plain) -> str:
    """The event's moment as the models hold it."""
    return str(event["at"]).replace("Z", "+00:00")


def _kind(event: Plain) -> str:
    if event["step"]:
        return "step.begun" if event["happening"] == "intent" else "step.ended"
    action = event["action"]
    return action if action in _ALONE or action in _OF_HOSTS else ""


def _steps_begun(connection: Connection, events: list[Plain]) -> None:
    rows = [_where(event) | {"stage": event["stage"]} for event in events]
    _BEGUN.many(connection, rows)
    _AT_STEP.many(connection, rows)


def _steps_ended(connection: Connection, events: list[Plain]) -> None:
    told = [
        _where(event) | {"happening": event["happening"], "reason": event["reason"], "body": canonical(event["body"])}
        for event in events
    ]
    changed = _ENDED.many(connection, told)
    if brought := [_delivered(event) for event in events if event["step"] == Step.FETCH and "way" in event["body"]]:
        _DELIVERIES.many(connection, brought)
    if changed.rowcount != len(told):
        named = ", ".join(sorted({f"step {event['step']} of {event['host']}" for event in events}))
        raise AuditError(f"{named} ended and never began")


def _delivered(event: Plain) -> dict[str, Any]:
    body = event["body"]
    told = {name: body.get(name, "") for name in ("sha256", "way", "instead_of")}
    counts = {"size_bytes": body.get("size_bytes", 0), "tries": body.get("tries", 0)}
    where = {"run": event["run"], "host": event["host"], "at": at_of(event), "happening": event["happening"]}
    return told | counts | where


def _host_results(connection: Connection, events: list[Plain]) -> None:
    rows = [
        {
            "run": event["run"],
            "host": event["host"],
            "stage": event["stage"],
            "reason": event["reason"],
            **{name: event["body"][name] for name in ("outcome", "failure_class", "remedy")},
            **{name: event["body"][name] or None for name in ("from_version", "to_version")},
        }
        for event in events
    ]
    _RESULT.many(connection, rows)


def _found(connection: Connection, events: list[Plain]) -> None:
    rows = [
        {
            "run": event["run"],
            "host": event["host"],
            "phase": event["body"]["phase"],
            "at": at_of(event),
            "verdict": finding["verdict"],
            "finding": canonical(finding),
        }
        for event in events
        for finding in event["body"]["findings"]
    ]
    _FINDINGS.many(connection, rows)


def _backups_taken(connection: Connection, events: list[Plain]) -> None:
    rows = [{"run": e["run"], "host": e["host"], "taken_at": at_of(e), **e["body"]} for e in events]
    _BACKUPS.many(connection, rows)


def _where(event: Plain) -> dict[str, Any]:
    return {"run": event["run"], "host": event["host"], "step": event["step"], "at": at_of(event)}


def _run_opened(session: Session, event: Plain) -> None:
    if session.get(RunRow, event["run"]) is not None:
        raise AuditError(f"run {event['run']} is in the history already; a run is opened once")
    record: dict[str, Any] = event["body"]["record"]
    session.add(
        RunRow(
            id=event["run"],
            runbook=record["runbook"],
            actor=record["actor"]["name"],
            source=record["source"],
            reason=record["reason"],
            ticket=record["ticket"],
            plan=record["plan"]["name"],
            plan_hash=record["plan_hash"],
            of_run=record["of_run"],
            record=canonical(record),
            process=record["process"],
            flow_run_id=record["flow_run_id"],
            started_at=record["started_at"].replace("Z", "+00:00"),
        ),
    )
    session.flush()
    release = record.get("release") or {"artifacts": []}
    for one in release["artifacts"]:
        told = {name: one[name] for name in ("os", "arch", "libc", "url", "sha256", "size_bytes")}
        session.add(ArtifactRow(run=event["run"], product=release["product"], version=release["version"], **told))


def _run_closed(session: Session, event: Plain) -> None:
    row = _run(session, event["run"])
    row.outcome, row.outcome_reason, row.ended_at = event["body"]["outcome"], event["reason"], at_of(event)


def _run_resumed(session: Session, event: Plain) -> None:
    row = _run(session, event["run"])
    if row.outcome is not None:
        raise AuditError(f"run {row.id} is over ({row.outcome}); there is nothing to resume")
    row.process, row.flow_run_id = event["body"]["process"], event["body"].get("flow_run_id") or row.flow_run_id


def _stop_requested(session: Session, event: Plain) -> None:
    _run(session, event["run"]).stop_requested = event["reason"]


def _stage_opened(session: Session, event: Plain) -> None:
    hosts = " ".join(event["body"]["hosts"])
    session.add(StageRow(run=event["run"], name=event["stage"], hosts=hosts, opened_at=at_of(event)))


def _stage_closed(session: Session, event: Plain) -> None:
    named = select(StageRow).where(StageRow.run == event["run"], StageRow.name == event["stage"])
    row = session.exec(named).one()
    row.closed_at, row.verdict, row.reason = at_of(event), event["body"]["verdict"], event["reason"]


def _release_accepted(session: Session, event: Plain) -> None:
    """The ratchet never falls."""
    channel, key_id, release_seq = (event["body"][name] for name in ("channel", "key_id", "release_seq"))
    row = session.get(ReleaseSeenRow, (channel, key_id))
    if row is None:
        session.add(ReleaseSeenRow(channel=channel, key_id=key_id, release_seq=release_seq, run=event["run"]))
    elif row.release_seq < release_seq:
        row.release_seq, row.run = release_seq, event["run"]


def _archived(session: Session, event: Plain) -> None:
    """The runs of the stretch are read in the archive from here on."""
    body = event["body"]
    runs = [run["id"] for run in body["runs"]]
    for start in range(0, len(runs), _AT_ONCE):
        part = runs[start : start + _AT_ONCE]
        for model in _PARTS:
            session.connection().execute(delete(model).where(col(model.run).in_(part)))
        session.connection().execute(delete(RunRow).where(col(RunRow.id).in_(part)))
    told = {
        name: body[name] for name in ("first_seq", "upto_seq", "first_at", "last_at", "file", "sha256", "size_bytes")
    }
    session.add(ArchiveRow(**told, at=at_of(event), by=event["actor"]["name"], reason=event["reason"]))
    session.flush()
    session.add_all(ArchivedRunRow(**run, archive=body["first_seq"]) for run in body["runs"])
    session.flush()
    session.expire_all()


def _restored(session: Session, event: Plain) -> None:
    first = event["body"]["first_seq"]
    session.connection().execute(delete(ArchivedRunRow).where(col(ArchivedRunRow.archive) == first))
    session.connection().execute(delete(ArchiveRow).where(col(ArchiveRow.first_seq) == first))
    session.expire_all()


_OF_HOSTS: dict[str, Callable[[Connection, list[Plain]], None]] = {
    "step.begun": _steps_begun,
    "step.ended": _steps_ended,
    "host.result": _host_results,
    "host.findings": _found,
    "host.backup": _backups_taken,
}
_ALONE: dict[str, Callable[[Session, Plain], None]] = {
    "run.opened": _run_opened,
    "run.closed": _run_closed,
    "run.resumed": _run_resumed,
    "run.stop_requested": _stop_requested,
    "stage.opened": _stage_opened,
    "stage.closed": _stage_closed,
    "release.accepted": _release_accepted,
    ARCHIVED: _archived,
    RESTORED: _restored,
}


def _run(session: Session, run_id: str) -> RunRow:
    row = session.get(RunRow, run_id)
    if row is None:
        raise AuditError(f"run {run_id} is not in the history")
    return row
