"""The pre-update check of one host, all in one round trip."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.collect import result_of_findings
from tasks.lock_host import run_left_behind
from tasks.session import RunSession
from upkeep.domain.change import UNFINISHED, HostOutcome, HostResult, Step
from upkeep.domain.facts import HostFacts
from upkeep.domain.finding import Finding, Verdict, blockers
from upkeep.domain.orders import Checked
from upkeep.domain.version import Version
from upkeep.hosts.checks import failure_class_of
from upkeep.hosts.checks.pre_update import check_host as ask_host

LOCK_CHECK = "host.lock"


@task(name="check host", task_run_name="check {host}", cache_policy=NO_CACHE)
def check_host(session: RunSession, host: str) -> Checked:
    """Look at one host before anything is changed anywhere.

    Raises:
        StepFailed: the host could not be asked.
    """
    return look(session, host)


def passed(checked: Checked) -> HostResult:
    """A check's answer as an outcome of its own, for the runbook that only checks."""
    return checked.result or HostResult(
        outcome=HostOutcome.PASSED, from_version=checked.facts.installed_version if checked.facts else None
    )


def look(session: RunSession, host: str, *, stage: str = "") -> Checked:
    """What a host is and what keeps it from being changed; its result is set when it needs no change or may have none."""
    work = session.work(host)
    with session.step(host, Step.CHECK, stage=stage) as step:
        facts, findings = ask_host(
            work.transport,
            work.profile,
            session.record.plan,
            session.release,
            become=True,
            artifact_size_bytes=max(artifact.size_bytes for artifact in session.release.artifacts),
            now=datetime.now(UTC),
        )
        state = work.change.standing()
        own = session.record.id if state.lock and state.lock.run == session.record.id else None
        left_behind = run_left_behind(session, state) or own
        findings = [_excused(finding, left_behind) for finding in findings]
        session.history.findings(session.record.id, host, f"check {stage}".strip(), findings)
        step.body["facts"] = facts.model_dump(mode="json")
    unfinished = state.journal.state in UNFINISHED
    result = _result(session, facts, findings, unfinished=unfinished)
    if result is None:
        session.remember_passed(host, facts, state)
    return Checked(host, facts, result, down=not facts.service_active)


def _excused(finding: Finding, left_behind: str | None) -> Finding:
    """A lock whose run is known to be dead keeps nobody out."""
    if finding.check != LOCK_CHECK or left_behind is None or not finding.blocks:
        return finding
    reason = f"run {left_behind} holds it, but its controller process is gone; it will be taken over"
    return finding.model_copy(update={"verdict": Verdict.WARN, "reason": reason, "remedy": ""})


def _result(session: RunSession, facts: HostFacts, findings: list[Finding], *, unfinished: bool) -> HostResult | None:
    target = session.release.version
    blocking = blockers(findings)
    at_target = _same(facts.installed_version, target) and _same(facts.running_version, target) and not unfinished
    if blocking:
        return result_of_findings(blocking, failure_class_of(blocking[0]), version=facts.installed_version)
    if at_target and facts.service_active:
        return HostResult(outcome=HostOutcome.ALREADY_CURRENT, from_version=facts.installed_version, to_version=target)
    return None


def _same(text: str, target: str) -> bool:
    try:
        return Version.parse(text) == Version.parse(target)
    except ValueError:
        return False
