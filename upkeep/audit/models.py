"""What each kind of event changes in the read models: by the event as it was written, and by nothing else.

So the models can be made anew from the events alone; applied in the event's own transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session, col, func, select

from upkeep.audit.chain import canonical
from upkeep.audit.tables import BackupRow, FindingRow, HostRow, ReleaseSeenRow, RunRow, StageRow, StepRow
from upkeep.domain.record import Event, Happening
from upkeep.errors import AuditError

_FINDINGS = insert(FindingRow.__table__)  # type: ignore[attr-defined]

Change = Callable[[Session, str], None]
"""What an event changes in tables that others keep, given the moment it happened."""


def nothing(_session: Session, _at: str) -> None:
    """Only the event itself."""


def apply_event(session: Session, event: Event) -> None:
    """Bring the read models from before the event to after it.

    Raises:
        AuditError: the event cannot follow what is there.
    """
    change = _step if event.step else _CHANGES.get(event.action)
    if change:
        change(session, event)


def at_of(event: Event) -> str:
    """The event's moment as the models hold it."""
    return event.at.isoformat()


def _run_opened(session: Session, event: Event) -> None:
    if session.get(RunRow, event.run) is not None:
        raise AuditError(f"run {event.run} is in the history already; a run is opened once")
    record: dict[str, Any] = event.body["record"]
    session.add(
        RunRow(
            id=event.run,
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


def _run_closed(session: Session, event: Event) -> None:
    row = _run(session, event.run)
    row.outcome, row.outcome_reason, row.ended_at = event.body["outcome"], event.reason, at_of(event)


def _run_resumed(session: Session, event: Event) -> None:
    row = _run(session, event.run)
    if row.outcome is not None:
        raise AuditError(f"run {event.run} is over ({row.outcome}); there is nothing to resume")
    row.process, row.flow_run_id = event.body["process"], event.body.get("flow_run_id") or row.flow_run_id


def _stop_requested(session: Session, event: Event) -> None:
    _run(session, event.run).stop_requested = event.reason


def _step(session: Session, event: Event) -> None:
    change = _step_begun if event.happening is Happening.INTENT else _step_ended
    change(session, event)


def _step_begun(session: Session, event: Event) -> None:
    run, host, step = event.run, event.host, str(event.step)
    tries = session.exec(
        select(func.count()).select_from(StepRow).where(StepRow.run == run, StepRow.host == host, StepRow.step == step),
    ).one()
    begun = StepRow(run=run, host=host, step=step, attempt=tries + 1, intent_at=at_of(event), happening="intent")
    session.add(begun)
    row = _host(session, run, host)
    row.current_step, row.stage = step, event.stage or row.stage


def _step_ended(session: Session, event: Event) -> None:
    """The newest try without a result is the one that ended: one host belongs to one process at a time."""
    open_tries = select(StepRow).where(
        StepRow.run == event.run, StepRow.host == event.host, StepRow.step == str(event.step)
    )
    row = session.exec(open_tries.where(col(StepRow.ended_at).is_(None)).order_by(col(StepRow.id).desc())).first()
    if row is None:
        raise AuditError(f"step {event.step} of {event.host} ended and never began")
    row.ended_at, row.happening = at_of(event), event.happening.value
    row.reason, row.body = event.reason, canonical(event.body)


def _host_result(session: Session, event: Event) -> None:
    row = _host(session, event.run, event.host)
    result = event.body
    row.stage = event.stage or row.stage
    row.outcome, row.failure_class = result["outcome"], result["failure_class"]
    row.from_version = result["from_version"] or row.from_version
    row.to_version = result["to_version"] or row.to_version
    row.reason, row.remedy = event.reason, result["remedy"]


def _found(session: Session, event: Event) -> None:
    at, phase = at_of(event), event.body["phase"]
    rows = [
        {
            "run": event.run,
            "host": event.host,
            "phase": phase,
            "at": at,
            "verdict": finding["verdict"],
            "finding": canonical(finding),
        }
        for finding in event.body["findings"]
    ]
    session.connection().execute(_FINDINGS, rows)


def _stage_opened(session: Session, event: Event) -> None:
    hosts = " ".join(event.body["hosts"])
    session.add(StageRow(run=event.run, name=event.stage, hosts=hosts, opened_at=at_of(event)))


def _stage_closed(session: Session, event: Event) -> None:
    row = session.exec(select(StageRow).where(StageRow.run == event.run, StageRow.name == event.stage)).one()
    row.closed_at, row.verdict, row.reason = at_of(event), event.body["verdict"], event.reason


def _backup_taken(session: Session, event: Event) -> None:
    session.add(BackupRow(run=event.run, host=event.host, taken_at=at_of(event), **event.body))


def _release_accepted(session: Session, event: Event) -> None:
    """The ratchet never falls."""
    channel, key_id, release_seq = (event.body[name] for name in ("channel", "key_id", "release_seq"))
    row = session.get(ReleaseSeenRow, (channel, key_id))
    if row is None:
        session.add(ReleaseSeenRow(channel=channel, key_id=key_id, release_seq=release_seq, run=event.run))
    elif row.release_seq < release_seq:
        row.release_seq, row.run = release_seq, event.run


_CHANGES: dict[str, Callable[[Session, Event], None]] = {
    "run.opened": _run_opened,
    "run.closed": _run_closed,
    "run.resumed": _run_resumed,
    "run.stop_requested": _stop_requested,
    "stage.opened": _stage_opened,
    "stage.closed": _stage_closed,
    "host.result": _host_result,
    "host.findings": _found,
    "host.backup": _backup_taken,
    "release.accepted": _release_accepted,
}


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
