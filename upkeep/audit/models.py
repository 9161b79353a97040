"""What each kind of event changes in the read models; applied in the event's own transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session, col, func, select

from upkeep.audit.chain import canonical
from upkeep.audit.tables import BackupRow, FindingRow, HostRow, ReleaseSeenRow, RunRow, StageRow, StepRow
from upkeep.domain.change import HostResult
from upkeep.domain.finding import Finding
from upkeep.domain.record import Event, Happening, RunRecord
from upkeep.errors import AuditError

_FINDINGS = insert(FindingRow.__table__)  # type: ignore[attr-defined]

Change = Callable[[Session, str], None]


def nothing(_session: Session, _at: str) -> None:
    """Only the event itself."""


def run_opened(record: RunRecord) -> Change:
    """A new row for the run."""

    def apply(session: Session, _at: str) -> None:
        if session.get(RunRow, record.id) is not None:
            raise AuditError(f"run {record.id} is in the history already; a run is opened once")
        session.add(
            RunRow(
                id=record.id,
                runbook=record.runbook,
                actor=record.actor.name,
                source=record.source,
                reason=record.reason,
                ticket=record.ticket,
                plan=record.plan.name,
                plan_hash=record.plan_hash,
                of_run=record.of_run,
                record=record.model_dump_json(),
                process=record.process,
                flow_run_id=record.flow_run_id,
                started_at=record.started_at.isoformat(),
            ),
        )

    return apply


def run_closed(run_id: str, outcome: str, reason: str) -> Change:
    """Outcome and end of the run."""

    def apply(session: Session, at: str) -> None:
        row = _run(session, run_id)
        row.outcome, row.outcome_reason, row.ended_at = outcome, reason, at

    return apply


def run_resumed(run_id: str, process: str, flow_run_id: str) -> Change:
    """Another process conducts the run from here on."""

    def apply(session: Session, _at: str) -> None:
        row = _run(session, run_id)
        if row.outcome is not None:
            raise AuditError(f"run {run_id} is over ({row.outcome}); there is nothing to resume")
        row.process, row.flow_run_id = process, flow_run_id or row.flow_run_id

    return apply


def stop_requested(run_id: str, reason: str) -> Change:
    """The run is asked to stop."""

    def apply(session: Session, _at: str) -> None:
        _run(session, run_id).stop_requested = reason

    return apply


def step_begun(run_id: str, host: str, stage: str, step: str) -> Change:
    """A new try of a step, and what the host is at."""

    def apply(session: Session, at: str) -> None:
        tries = session.exec(
            select(func.count())
            .select_from(StepRow)
            .where(StepRow.run == run_id, StepRow.host == host, StepRow.step == step),
        ).one()
        session.add(
            StepRow(run=run_id, host=host, step=step, attempt=tries + 1, intent_at=at, happening=Happening.INTENT.value)
        )
        row = _host(session, run_id, host)
        row.current_step, row.stage = step, stage or row.stage

    return apply


def step_ended(begun: Event, happening: str, reason: str, body: object) -> Change:
    """The result of the try that began with `begun`."""

    def apply(session: Session, at: str) -> None:
        wanted = select(StepRow).where(
            StepRow.run == begun.run, StepRow.host == begun.host, StepRow.step == str(begun.step)
        )
        row = session.exec(
            wanted.where(StepRow.intent_at == begun.at.isoformat()).order_by(col(StepRow.id).desc())
        ).first()
        if row is None:
            raise AuditError(f"step {begun.step} of {begun.host} ended and never began")
        row.ended_at, row.happening, row.reason, row.body = at, happening, reason, canonical(body)

    return apply


def host_result(run_id: str, host: str, result: HostResult, stage: str) -> Change:
    """Outcome of one host."""

    def apply(session: Session, _at: str) -> None:
        row = _host(session, run_id, host)
        row.stage = stage or row.stage
        row.outcome = result.outcome.value
        row.failure_class = result.failure_class.value if result.failure_class else None
        row.from_version = result.from_version or row.from_version
        row.to_version = result.to_version or row.to_version
        row.reason, row.remedy = result.reason, result.remedy

    return apply


def found(run_id: str, host: str, phase: str, findings: Sequence[Finding]) -> Change:
    """One row a finding."""

    def apply(session: Session, at: str) -> None:
        rows = [
            {
                "run": run_id,
                "host": host,
                "phase": phase,
                "at": at,
                "verdict": finding.verdict.value,
                "finding": finding.model_dump_json(exclude_defaults=True),
            }
            for finding in findings
        ]
        if rows:
            session.connection().execute(_FINDINGS, rows)

    return apply


def stage_opened(run_id: str, name: str, hosts: Sequence[str]) -> Change:
    """A new row for the stage."""

    def apply(session: Session, at: str) -> None:
        session.add(StageRow(run=run_id, name=name, hosts=" ".join(hosts), opened_at=at))

    return apply


def stage_closed(run_id: str, name: str, verdict: str, reason: str) -> Change:
    """Verdict and end of the stage."""

    def apply(session: Session, at: str) -> None:
        row = session.exec(select(StageRow).where(StageRow.run == run_id, StageRow.name == name)).one()
        row.closed_at, row.verdict, row.reason = at, verdict, reason

    return apply


def backup_taken(run_id: str, host: str, facts: dict[str, Any]) -> Change:
    """A new row for the backup."""

    def apply(session: Session, at: str) -> None:
        session.add(BackupRow(run=run_id, host=host, taken_at=at, **facts))

    return apply


def release_seen(channel: str, key_id: str, release_seq: int, run_id: str) -> Change:
    """The ratchet never falls."""

    def apply(session: Session, _at: str) -> None:
        row = session.get(ReleaseSeenRow, (channel, key_id))
        if row is None:
            session.add(ReleaseSeenRow(channel=channel, key_id=key_id, release_seq=release_seq, run=run_id))
        elif row.release_seq < release_seq:
            row.release_seq, row.run = release_seq, run_id

    return apply


def _run(session: Session, run_id: str) -> RunRow:
    row = session.get(RunRow, run_id)
    if row is None:
        raise AuditError(f"run {run_id} is not in the history")
    return row


def _host(session: Session, run_id: str, host: str) -> HostRow:
    row = session.get(HostRow, (run_id, host))
    if row is None:
        row = HostRow(run=run_id, host=host)
        session.add(row)
    return row
