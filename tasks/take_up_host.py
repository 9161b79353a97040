"""Going on with one host whose change was cut off, from the host's own truth: no step that finished is done again, none is left out."""

from __future__ import annotations

import dataclasses

from tasks.guard_acted import note_guard
from tasks.lock_host import locked, order_of, unlock
from tasks.roll_back_host import put_back
from tasks.session import HostWork, RunSession
from upkeep.domain.change import HostResult, Journal, JournalState, Step
from upkeep.domain.facts import HostFacts
from upkeep.domain.failure import FailureClass
from upkeep.domain.record import Happening
from upkeep.hosts.host_change import Order


def own_journal(session: RunSession, host: str) -> Journal:
    """What the host says of this run's change; state `none` when it knows nothing of it.

    Raises:
        StepFailed: the host could not be asked.
    """
    work = session.work(host)
    with session.step(host, Step.WATCH) as step:
        journal = work.change.standing().journal
        step.body["journal"] = journal.state.value
    if journal.run != session.record.id:
        return Journal()
    note_guard(session, host, journal)
    return journal


def finished_steps(session: RunSession, host: str, journal: Journal) -> frozenset[Step]:
    """Steps before the switch that this run finished on the host and that still hold, as its journal confirms."""
    holds = {
        JournalState.PREPARED: {Step.BASELINE, Step.BACKUP},
        JournalState.STAGED: {Step.BASELINE, Step.BACKUP, Step.FETCH},
    }.get(journal.state, set())
    done = {row.step for row in session.history.steps(session.record.id, host) if row.happening is Happening.OK}
    return frozenset(holds & done)


def was_judged_bad(session: RunSession, host: str) -> bool:
    """Whether the host goes back because of what was found on it, and not because its controller died."""
    rows = session.history.steps(session.record.id, host)
    return any(row.step is Step.ROLLBACK for row in rows)


def was_switched(session: RunSession, host: str) -> bool:
    """Whether this run's switch finished on the host; what is left is to arm the dead-man switch anew."""
    rows = session.history.steps(session.record.id, host)
    last = next((row for row in reversed(rows) if row.step in {Step.SWITCH, Step.ROLLBACK}), None)
    return last is not None and last.step is Step.SWITCH and last.happening is Happening.OK


def order_again(session: RunSession, host: str, journal: Journal) -> Order:
    """The order the host was changed by, from the facts its check wrote down."""
    facts = HostFacts.model_validate(session.history.facts_of(session.record.id, host))
    return order_of(session, from_version=journal.from_version, machine=facts.machine, libc=facts.libc)


def unlock_committed(session: RunSession, host: str, journal: Journal, stage: str) -> None:
    """Give a committed host free, where the run's controller died after the commit and before it did."""
    rows = session.history.steps(session.record.id, host)
    last = next((row for row in reversed(rows) if row.step in {Step.LOCK, Step.UNLOCK}), None)
    if last is not None and (last.step, last.happening) != (Step.UNLOCK, Happening.OK):
        order = dataclasses.replace(order_again(session, host, journal), fence=journal.fence)
        unlock(session, session.work(host), order, stage)


def finish_rollback(session: RunSession, work: HostWork, journal: Journal, stage: str) -> HostResult:
    """Put the host back as was begun; nothing happens on a host that is back already, but it is verified."""
    with locked(session, work, order_again(session, work.host.name, journal), stage=stage) as order:
        reason = journal.reason or "it was being put back when the run's controller died"
        return put_back(session, work, order, reason=reason, failure_class=FailureClass.VERIFY, stage=stage)
