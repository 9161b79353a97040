"""Verifying one host without changing it: does the agent run, healthy, in the version it should have?"""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.session import RunSession
from upkeep.domain.change import HostOutcome, HostResult, Step
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import blockers
from upkeep.hosts.verification import baseline


@task(name="verify host", task_run_name="verify {host}", cache_policy=NO_CACHE)
def verify_host(session: RunSession, host: str) -> HostResult:
    """Ask everything that is asked after a change.

    Raises:
        StepFailed: the host could not be asked.
    """
    work, version = session.work(host), session.release.version
    with session.step(host, Step.VERIFY):
        findings = baseline(work.transport, work.profile, session.record.plan, become=True, expected_version=version)
        findings = [*findings, *work.registration(version)]
        session.history.findings(session.record.id, host, "verify", findings)
    if bad := blockers(findings):
        more = f" (and {len(bad) - 1} more findings)" if len(bad) > 1 else ""
        return HostResult(
            outcome=HostOutcome.FAILED,
            failure_class=FailureClass.VERIFY,
            reason=f"{bad[0].key}: {bad[0].reason}{more}",
            remedy=bad[0].remedy,
        )
    return HostResult(outcome=HostOutcome.PASSED, to_version=version)
