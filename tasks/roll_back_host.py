"""Putting one host back: by itself after a bad change, by a gate, or by hand for a past run."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.guard_acted import note_guard
from tasks.lock_host import is_one_way, locked, order_of
from tasks.session import HostWork, RunSession
from upkeep.domain.change import HostOutcome, HostResult, Journal, JournalState, Step
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import blockers
from upkeep.domain.orders import Changed
from upkeep.errors import BackupError, CommandFailed, CommandTimeout, HostError, StepFailed, Unreachable, UpkeepError
from upkeep.hosts.host_change import Order
from upkeep.hosts.verification import watch_healthy

RECONNECT_EVERY = timedelta(seconds=5)
GUARD_MARGIN = timedelta(seconds=60)

NO_CONTACT = (Unreachable, CommandTimeout)
"""What ends a step when the host cannot be talked to any more; what is true then, only the host knows."""


@task(name="undo host", task_run_name="undo {host}", cache_policy=NO_CACHE)
def undo_host(
    session: RunSession, host: str, stage: str, reason: str, failure_class: FailureClass | None = None
) -> Changed:
    """Put a committed host back to the version it had before the run."""
    work = session.work(host)
    with locked(session, work, order_of(session), stage=stage) as order:
        result = put_back(session, work, order, reason=reason, failure_class=failure_class, stage=stage)
        return session.answered(Changed(host, result))


@task(name="roll back host", task_run_name="roll back {host}", cache_policy=NO_CACHE)
def roll_back_host(session: RunSession, host: str) -> HostResult:
    """Put one host back to what it was before the earlier run that this run undoes."""
    reason = session.record.reason or f"rollback of run {session.record.of_run} by hand"
    return undo_host.fn(session, host, "", reason).result


def put_back(
    session: RunSession,
    work: HostWork,
    order: Order,
    *,
    reason: str,
    failure_class: FailureClass | None,
    stage: str,
    guarded_until: float | None = None,
    remedy: str = "",
) -> HostResult:
    """Restore binary and configuration (and data a one-way release changed), then verify as after an upgrade.

    A rollback that fails is an outcome of its own, with both causes: the host is quarantined. While the dead-man switch is armed
    (until `guarded_until`, monotonic seconds) a lost contact is no failure yet: the host is waited for.
    """
    name = work.host.name
    try:
        with session.step(name, Step.ROLLBACK, stage=stage) as step:
            step.reason = reason
            journal = _restore(session, work, order, reason)
            findings = watch_healthy(
                work.transport, work.profile, session.record.plan, expected_version=journal.from_version, become=True
            )
            session.history.findings(session.record.id, name, "rollback", findings)
            if bad := blockers(findings):
                raise CommandFailed(
                    name,
                    f"the old version is not well after the rollback: {bad[0].reason}",
                    exit_code=1,
                    remedy=bad[0].remedy,
                )
    except StepFailed as error:
        if guarded_until is not None and isinstance(error.cause, NO_CONTACT) and time.monotonic() < guarded_until:
            lost = f"{reason}; contact was lost while it was put back ({error.cause})"
            return _wait(session, work, order, lost, failure_class, stage=stage, until=guarded_until)
        return _quarantined(name, reason, error)
    return HostResult(
        outcome=HostOutcome.ROLLED_BACK,
        failure_class=failure_class,
        from_version=journal.from_version,
        to_version=journal.from_version,
        reason=reason,
        remedy=remedy or f"find out why before trying {journal.to_version} on this host again",
    )


def guarded_until(order: Order) -> float:
    """When the dead-man switch of a host that was just switched must have acted (monotonic seconds)."""
    return time.monotonic() + (order.dead_man + GUARD_MARGIN).total_seconds()


def wait_for_host(session: RunSession, work: HostWork, order: Order, error: StepFailed, *, stage: str) -> HostResult:
    """Contact was lost after the switch: wait until the host answers or its dead-man switch must have acted, and ask what is true."""
    reason = session.cancelled or f"contact lost after the switch ({error.cause})"
    failure_class = None if session.cancelled else FailureClass.UNREACHABLE
    return _wait(session, work, order, reason, failure_class, stage=stage, until=guarded_until(order))


def _wait(
    session: RunSession,
    work: HostWork,
    order: Order,
    reason: str,
    failure_class: FailureClass | None,
    *,
    stage: str,
    until: float,
) -> HostResult:
    with session.step(work.host.name, Step.WATCH, stage=stage) as step:
        journal = _journal_when_back(work, until)
        step.body["journal"] = journal.state.value if journal else "no contact"
    if journal is None:
        return HostResult(
            outcome=HostOutcome.SET_ASIDE,
            failure_class=FailureClass.UNREACHABLE,
            reason=f"{reason}; its dead-man switch puts it back by itself",
            remedy=f"bring the host back, then look: upkeep status {session.record.id}",
        )
    if journal.state is JournalState.ROLLED_BACK:
        note_guard(session, work.host.name, journal, stage=stage)
        return HostResult(
            outcome=HostOutcome.ROLLED_BACK,
            failure_class=failure_class,
            from_version=journal.from_version,
            to_version=journal.from_version,
            reason=f"{reason}; the host went back by itself: {journal.reason}",
            remedy="find out why contact was lost, then: upkeep retry",
        )
    if journal.state is JournalState.COMMITTED and not session.cancelled:
        return committed(journal)
    return put_back(session, work, order, reason=reason, failure_class=failure_class, stage=stage, guarded_until=until)


def committed(journal: Journal) -> HostResult:
    """The host had taken the commit before anybody here could write that down."""
    return HostResult(outcome=HostOutcome.COMMITTED, from_version=journal.from_version, to_version=journal.to_version)


def _restore(session: RunSession, work: HostWork, order: Order, reason: str) -> Journal:
    """Roll back from the copy on the host; where that is gone or damaged, bring the controller's archive back first."""
    one_way, of_run = is_one_way(session), session.record.of_run
    taken_by = of_run or session.record.id
    try:
        return work.change.roll_back(order, reason, with_state=one_way, of_run=of_run)
    except BackupError:
        kept = [b for b in session.history.backups(taken_by) if b.host == work.host.name and Path(b.path).exists()]
        if not kept:
            raise
        archive = session.backup_keys.opened(Path(kept[-1].path), f"{taken_by}/{work.host.name}")
        work.change.restore_from(order, session.kept_binaries.put_together(archive))
        return work.change.roll_back(order, reason, with_state=one_way, of_run=of_run)


def _journal_when_back(work: HostWork, deadline: float) -> Journal | None:
    """The host's journal once it answers and its guard has decided; None when it does not answer until `deadline` (monotonic seconds)."""
    while True:
        try:
            journal = work.change.inspect().journal
        except HostError:
            journal = None
        if journal is not None or time.monotonic() >= deadline:
            return journal
        time.sleep(RECONNECT_EVERY.total_seconds())


def _quarantined(host: str, reason: str, error: UpkeepError) -> HostResult:
    return HostResult(
        outcome=HostOutcome.FAILED,
        failure_class=FailureClass.ROLLBACK,
        reason=f"{reason}; and the rollback failed as well: {error}",
        remedy=f"quarantined: repair {host} by hand from its backup, then `upkeep retry`",
    )
