"""One host's transaction: locked, baselined, backed up, delivered, switched, watched, committed; or put back."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.back_up_host import back_up
from tasks.check_host import look
from tasks.collect import result_of
from tasks.deliver_release import deliver
from tasks.lock_host import locked, order_of
from tasks.roll_back_host import NO_CONTACT, committed, guarded_until, put_back, wait_for_host
from tasks.session import HostWork, Passed, RunSession
from tasks.take_up_host import (
    finish_rollback,
    finished_steps,
    order_again,
    own_journal,
    unlock_committed,
    was_judged_bad,
    was_switched,
)
from upkeep.domain.change import HostOutcome, HostResult, Journal, JournalState, Step
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding, blockers, regressions
from upkeep.domain.orders import Changed
from upkeep.errors import Cancelled, HostError, StepFailed
from upkeep.hosts.host_change import Order
from upkeep.hosts.verification import baseline, watch_healthy


@task(name="change host", task_run_name="change {host}", cache_policy=NO_CACHE)
def change_host(session: RunSession, host: str, stage: str) -> Changed:
    """Take one host to the release, or leave it as it was; in a resumed run, go on where the host says it was left.

    Raises:
        StepFailed: the host could not be changed, and nothing on it was switched.
    """
    work = session.work(host)
    journal = own_journal(session, host) if session.resumed else Journal()
    if journal.state is JournalState.COMMITTED:
        unlock_committed(session, host, journal, stage)
        return session.answered(Changed(host, committed(journal)))
    if journal.state in {JournalState.ARMED, JournalState.SWITCHED}:
        with locked(session, work, order_again(session, host, journal), stage=stage) as order:
            return session.answered(
                Changed(host, _switched(session, work, order, stage, session.newest_findings(host, "baseline")))
            )
    if journal.state in {JournalState.ROLLING_BACK, JournalState.ROLLED_BACK} and was_judged_bad(session, host):
        return session.answered(Changed(host, finish_rollback(session, work, journal, stage)))
    passed = session.just_passed(host)
    if passed is None:
        seen = look(session, host, stage=stage)
        if seen.result:
            return session.answered(Changed(host, seen.result))
        passed = session.passed.pop(host)
    done = finished_steps(session, host, journal)
    return session.answered(Changed(host, _transaction(session, work, passed, stage, done)))


def _transaction(session: RunSession, work: HostWork, passed: Passed, stage: str, done: frozenset[Step]) -> HostResult:
    facts = passed.facts
    wanted = order_of(session, from_version=facts.installed_version, machine=facts.machine, libc=facts.libc)
    with locked(session, work, wanted, stage=stage, state=passed.state) as order:
        before = _baseline(session, work, stage, done)
        if Step.BACKUP not in done:
            back_up(session, work, order, stage=stage)
        if Step.FETCH not in done:
            deliver(session, work, order, stage=stage)
        return _switched(session, work, order, stage, before)


def _switched(session: RunSession, work: HostWork, order: Order, stage: str, before: tuple[Finding, ...]) -> HostResult:
    """Switch, verify and commit; or put back. On a host that is switched already the dead-man switch is only armed anew."""
    try:
        _switch(session, work, order, stage)
        _verify(session, work, stage, before)
        return _commit(session, work, order, stage)
    except StepFailed as error:
        if isinstance(error.cause, Cancelled) and error.step == Step.SWITCH:
            raise
        if isinstance(error.cause, NO_CONTACT):
            return wait_for_host(session, work, order, error, stage=stage)
        failed = result_of(error)
        failure_class = error.cause.failure_class if isinstance(error.cause, GotWorse) else failed.failure_class
        reason = error.cause.problem if isinstance(error.cause, HostError) else failed.reason
        return put_back(
            session,
            work,
            order,
            reason=reason,
            failure_class=failure_class,
            stage=stage,
            remedy=failed.remedy,
            guarded_until=guarded_until(order),
        )


class GotWorse(HostError):
    """The host is worse than before its change; `failure_class` says whether the new version never got well or something else broke."""

    def __init__(self, host: str, worse: tuple[Finding, ...], failure_class: FailureClass) -> None:
        self.failure_class = failure_class
        more = f" (and {len(worse) - 1} more findings)" if len(worse) > 1 else ""
        super().__init__(host, f"{worse[0].key}: {worse[0].reason}{more}", remedy=worse[0].remedy)


def _baseline(session: RunSession, work: HostWork, stage: str, done: frozenset[Step]) -> tuple[Finding, ...]:
    if Step.BASELINE in done:
        return session.newest_findings(work.host.name, "baseline")
    with session.step(work.host.name, Step.BASELINE, stage=stage):
        findings = baseline(work.transport, work.profile, session.record.plan, become=True)
        session.history.findings(session.record.id, work.host.name, "baseline", findings)
    return tuple(findings)


def _switch(session: RunSession, work: HostWork, order: Order, stage: str) -> None:
    again = session.resumed and was_switched(session, work.host.name)
    with session.step(work.host.name, Step.WATCH if again else Step.SWITCH, stage=stage) as step:
        step.body |= {
            "from": order.from_version,
            "to": order.to_version,
            "dead_man_seconds": order.dead_man.total_seconds(),
        }
        work.change.switch(order)


def _verify(session: RunSession, work: HostWork, stage: str, before: tuple[Finding, ...]) -> None:
    """Watch the host until it has been well for the healthy time; raises StepFailed with GotWorse otherwise."""
    name, plan, version = work.host.name, session.record.plan, session.release.version
    with session.step(name, Step.VERIFY, stage=stage):
        after = watch_healthy(
            work.transport, work.profile, plan, expected_version=version, baseline=before, become=True
        )
        if not blockers(after):
            after = [*after, *work.registration(version)]
        session.history.findings(session.record.id, name, "verify", after)
        if worse := regressions(before, after):
            raise GotWorse(name, worse, _class_of(worse[0], before))
        session.remember_well(name, after)


def _class_of(worse: Finding, before: tuple[Finding, ...]) -> FailureClass:
    """`regress` for what was right before the change, `verify` for what only the new version has to be."""
    known = worse.key in {finding.key for finding in before} and not worse.check.startswith(_NEW_VERSION_ONLY)
    return FailureClass.REGRESS if known else FailureClass.VERIFY


_NEW_VERSION_ONLY = ("agent.running_version", "service.stable", "centre.")


def _commit(session: RunSession, work: HostWork, order: Order, stage: str) -> HostResult:
    with session.step(work.host.name, Step.COMMIT, stage=stage):
        work.change.commit(order)
    return HostResult(outcome=HostOutcome.COMMITTED, from_version=order.from_version, to_version=order.to_version)
