"""Bringing the release to one host ahead of its change: checked, locked for as long as bytes arrive, and left as it was."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.check_host import look
from tasks.deliver_release import bring
from tasks.lock_host import locked, order_of
from tasks.session import RunSession
from upkeep.domain.change import UNFINISHED, HostOutcome, HostResult, Step
from upkeep.domain.failure import FailureClass


@task(name="prestage host", task_run_name="prestage {host}", cache_policy=NO_CACHE)
def prestage_host(session: RunSession, host: str) -> HostResult:
    """Put the archive where the host's change will look for it.

    Raises:
        StepFailed: the host could not be asked, belongs to another run, or the archive did not arrive.
    """
    if why := session.why_not_now(datetime.now(UTC)):
        return HostResult(outcome=HostOutcome.NOT_STARTED, reason=why, remedy="upkeep retry, once it may be done")
    seen = look(session, host)
    if seen.result is not None:
        return seen.result
    passed, work = session.passed.pop(host), session.work(host)
    version, journal = passed.facts.installed_version, passed.state.journal
    if journal.state in UNFINISHED:
        return HostResult(
            outcome=HostOutcome.BLOCKED,
            failure_class=FailureClass.PRECHECK,
            from_version=version,
            reason=f"the change of run {journal.run} is still '{journal.state}' on the host",
            remedy=f"upkeep resume {journal.run}, or upkeep rollback {journal.run}",
        )
    if session.record.dry_run:
        return HostResult(outcome=HostOutcome.PASSED, from_version=version)
    wanted = order_of(session, from_version=version, machine=passed.facts.machine, libc=passed.facts.libc)
    with locked(session, work, wanted, stage="", state=passed.state) as order, session.step(host, Step.FETCH) as step:
        bring(session, work, order, step)
    return HostResult(
        outcome=HostOutcome.PRESTAGED, from_version=version, to_version=session.release.version, reason=_said(step.body)
    )


def _said(body: dict[str, object]) -> str:
    if body["way"] == "push" and body.get("resumed_at_bytes") == body["size_bytes"]:
        return "the archive was there already, checked by SHA-256"
    instead = f", which could not be done by {body['instead_of']}" if "instead_of" in body else ""
    return f"{body['size_bytes']} bytes by {body['way']}, checked by SHA-256{instead}"
