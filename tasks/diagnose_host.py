"""Why one host lost its control centre: asked from both ends, in one round trip each, without changing anything."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.inspect_host import catalogue_of
from tasks.session import HostWork, RunSession
from upkeep.documents.causes import load_causes
from upkeep.domain.change import HostOutcome, HostResult, Step
from upkeep.domain.diagnosis import Diagnosis, diagnose
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import HostError, HostKeyRejected, LoginRefused, PrivilegeRefused, ServiceError
from upkeep.hosts.inspection import inspect_host as ask_host
from upkeep.services.node_findings import node_findings

DIAGNOSED = "host.diagnosed"
_MOST_CAUSES = 4


@task(name="diagnose host", task_run_name="diagnose {host}", cache_policy=NO_CACHE)
def diagnose_host(session: RunSession, host: str) -> HostResult:
    """Ask host and control centre, weigh the causes, write down what came of it.

    Raises:
        StepFailed: the history cannot be written.
    """
    work = session.work(host)
    with session.step(host, Step.CHECK):
        findings = [*_from_controller(session, work), *_from_centre(work)]
    found = diagnose(load_causes(), findings)
    session.history.findings(
        session.record.id, host, "diagnosis", [f for f in findings if f.verdict is not Verdict.PASS]
    )
    session.history.record(session.record.id, DIAGNOSED, host=host, reason=words(host, found), body=body_of(found))
    return result_of(found)


def dropped_off(session: RunSession) -> list[str]:
    """The run's hosts that are not online at their control centre; all of them where that cannot be told."""
    if session.record.hosts or not session.hosts:
        return list(session.hosts)
    centre = session.work(next(iter(session.hosts))).centre
    try:
        online = {node.id for node in centre.nodes() if node.online} if centre else set()
    except ServiceError:
        online = set()
    return [name for name in session.hosts if _node(session.work(name)) not in online]


def _node(work: HostWork) -> str:
    return work.profile.control_centre.node if work.profile.control_centre else ""


def _from_controller(session: RunSession, work: HostWork) -> list[Finding]:
    """Everything the host says of itself and of its way to the control centre, or why it says nothing."""
    now = datetime.now(UTC)
    try:
        seen = ask_host(
            work.transport, work.profile, catalogue_of(session), work.host.variables(), now=now, purpose="diagnosis"
        )
    except HostError as error:
        return [_not_reached(error)]
    reached = Finding(check="reach.ssh", verdict=Verdict.PASS, reason="the controller reaches the host over SSH")
    return [reached, *seen.findings]


def _not_reached(error: HostError) -> Finding:
    check = "reach.ssh"
    if isinstance(error, HostKeyRejected):
        check = "reach.hostkey"
    elif isinstance(error, (LoginRefused, PrivilegeRefused)):
        check = "reach.login"
    return Finding(
        check=check, verdict=Verdict.FAIL, reason=error.problem, evidence=error.evidence, remedy=error.remedy
    )


def _from_centre(work: HostWork) -> list[Finding]:
    return node_findings(work.centre, _node(work)) if work.centre else []


def result_of(found: Diagnosis) -> HostResult:
    """A diagnosis as a host's outcome: the likeliest cause, its evidence and its remedy."""
    likely = found.likely
    if likely is None:
        bad = [f for state in found.layers for f in state.findings if f.verdict is Verdict.FAIL]
        if not bad:
            return HostResult(
                outcome=HostOutcome.PASSED, reason="nothing is wrong between this host and its control centre"
            )
        return HostResult(
            outcome=HostOutcome.FAILED,
            failure_class=FailureClass.UNKNOWN,
            reason=f"no known cause fits; what is wrong: {bad[0].key}: {bad[0].reason}",
            remedy=bad[0].remedy,
        )
    evidence = likely.evidence[0]
    return HostResult(
        outcome=HostOutcome.FAILED,
        failure_class=FailureClass.ENVIRONMENT,
        reason=f"{likely.cause.id} ({100 * likely.confidence:.0f} %): {likely.cause.title}; {evidence.key}: {evidence.reason}",
        remedy=likely.cause.remedy,
    )


def words(host: str, found: Diagnosis) -> str:
    """A diagnosis as people read it: every layer, then the causes with evidence for and against."""
    lines = [f"{host}: the layers from the bottom up"]
    for state in found.layers:
        worst = next(
            (
                f"; {f.key}: {f.reason}"
                for f in state.findings
                if f.verdict is state.verdict and f.verdict is not Verdict.PASS
            ),
            "",
        )
        asked = "not asked" if not state.findings else state.verdict.value
        lines.append(f"  {state.layer.value:20} {asked}{worst}")
    lines.append(f"{host}: likely causes" if found.suspicions else f"{host}: no known cause fits")
    for one in found.suspicions[:_MOST_CAUSES]:
        lines.append(f"  {100 * one.confidence:3.0f} %  {one.cause.id}: {one.cause.title}")
        lines += [f"         for      {f.key}: {f.reason}" for f in one.evidence]
        lines += [f"         against  {f.key}: {f.reason}" for f in one.against]
        lines.append(f"         do       {one.cause.remedy}")
    return "\n".join(lines)


def body_of(found: Diagnosis) -> dict[str, object]:
    """A diagnosis as the history keeps it."""
    return {
        "layers": {state.layer.value: state.verdict.value if state.findings else "not asked" for state in found.layers},
        "causes": [
            {
                "id": one.cause.id,
                "confidence": round(one.confidence, 2),
                "evidence": [f.key for f in one.evidence],
                "against": [f.key for f in one.against],
            }
            for one in found.suspicions
        ],
    }
