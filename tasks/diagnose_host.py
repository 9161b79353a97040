"""Why one host lost its control centre: asked from both ends, in one round trip each; what may be repaired is, when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.first_aid import CAUSES, aid_findings, failed_run
from tasks.inspect_host import catalogue_of
from tasks.keep_approvals import ApprovalKeeper
from tasks.raise_level import with_raised_level
from tasks.repair_host import repair, repairs_for
from tasks.session import HostWork, RunSession
from upkeep.documents.causes import load_causes
from upkeep.domain.approval_rule import Awaited
from upkeep.domain.change import HostOutcome, HostResult, Step
from upkeep.domain.diagnosis import Causes, Diagnosis, diagnose
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import HostError, HostKeyRejected, LoginRefused, PrivilegeRefused, ServiceError, shorten
from upkeep.hosts.checks.catalogued import RECENT
from upkeep.hosts.inspection import inspect_host as ask_host
from upkeep.services.node_findings import node_findings

DIAGNOSED = "host.diagnosed"
REPAIRS = "repairs"
"""What people approve, where the plan demands approvals, before a run repairs."""

_MOST_CAUSES = 4


@task(name="diagnose host", task_run_name="diagnose {host}", cache_policy=NO_CACHE)
def diagnose_host(session: RunSession, host: str) -> HostResult:
    """Ask host and control centre, weigh the causes, write down what came of it; repair what the run may repair.

    Raises:
        StepFailed: the history cannot be written, or a repair failed and was taken back.
    """
    work = session.work(host)
    with session.step(host, Step.CHECK):
        found = _keep(session, host, _asked(session, work, RECENT))
    if found.likely and session.record.plan.log_level.lasting and _may_change(session):
        seconds = with_raised_level(session, host)
        found = _keep(session, host, _asked(session, work, max(RECENT, seconds + timedelta(minutes=1))))
    if not (session.record.plan.repairs.apply and _may_change(session)):
        return _with_offer(session, found, result_of(found))
    after, repaired = repair(
        session, host, found, lambda recent: diagnose(load_causes(), _asked(session, work, recent))
    )
    if repaired is None:
        return result_of(after)
    _record(session, host, after)
    return repaired


def _asked(session: RunSession, work: HostWork, recent: timedelta) -> list[Finding]:
    findings = [*_from_controller(session, work, recent), *_from_centre(work)]
    return [*findings, *aid_findings(session, work)] if failed_run(session) else findings


def _known(session: RunSession) -> Causes:
    """The causes that a run weighs: of a lost control centre, or of what an earlier run failed at."""
    return load_causes(CAUSES) if failed_run(session) else load_causes()


def _keep(session: RunSession, host: str, findings: Sequence[Finding]) -> Diagnosis:
    found = diagnose(_known(session), findings)
    bad = [finding for finding in findings if finding.verdict is not Verdict.PASS]
    session.history.findings(session.record.id, host, "diagnosis", bad)
    _record(session, host, found)
    return found


def _record(session: RunSession, host: str, found: Diagnosis) -> None:
    body = body_of(found) | {"repairs": list(repairs_for(found, session.record.plan.repairs))}
    session.history.record(session.record.id, DIAGNOSED, host=host, reason=words(host, found), body=body)


def _may_change(session: RunSession) -> bool:
    return not session.record.dry_run and repairs_awaited(session) is None


def _with_offer(session: RunSession, found: Diagnosis, result: HostResult) -> HostResult:
    """The result with what Upkeep could do about it."""
    kinds = repairs_for(found, session.record.plan.repairs)
    if not kinds:
        return result
    offer = f"{result.remedy}; Upkeep can try {', then '.join(kinds)}: the same with --set apply=true"
    return result.model_copy(update={"remedy": offer})


def repairs_awaited(session: RunSession) -> Awaited | None:
    """The approval that repairs of this run lack."""
    return ApprovalKeeper(session.history, session.record).awaits(REPAIRS, 0, datetime.now(UTC))


def offered(session: RunSession) -> list[str]:
    """The hosts on which something can be repaired, as diagnosed in this run."""
    events = session.history.events(session.record.id)
    return sorted({event.host for event in events if event.action == DIAGNOSED and event.body.get("repairs")})


def dropped_off(session: RunSession) -> list[str]:
    """The run's hosts that are not online at their control centre; all of them where that cannot be told."""
    if session.record.hosts or session.record.of_run or not session.hosts:
        return list(session.hosts)
    centre = session.work(next(iter(session.hosts))).centre
    try:
        online = {node.id for node in centre.nodes() if node.online} if centre else set()
    except ServiceError:
        online = set()
    return [name for name in session.hosts if _node(session.work(name)) not in online]


def _node(work: HostWork) -> str:
    return work.profile.control_centre.node if work.profile.control_centre else ""


def _from_controller(session: RunSession, work: HostWork, recent: timedelta) -> list[Finding]:
    """Everything the host says of itself and of its way to the control centre, or why it says nothing."""
    now = datetime.now(UTC)
    try:
        seen = ask_host(
            work.transport,
            work.profile,
            catalogue_of(session),
            _variables(session, work),
            now=now,
            purpose="diagnosis",
            recent=recent,
        )
    except HostError as error:
        return [_not_reached(error)]
    reached = Finding(check="reach.ssh", verdict=Verdict.PASS, reason="the controller reaches the host over SSH")
    return [reached, *seen.findings]


def _variables(session: RunSession, work: HostWork) -> dict[str, str]:
    """The host's, and what only first aid and a capture ask with."""
    more = {"upkeep_folder": work.profile.paths.upkeep} if failed_run(session) else {}
    capture = session.record.plan.capture
    if capture.lasting:
        seconds = max(1, round(capture.lasting.total_seconds()))
        more |= {"capture_seconds": str(seconds), "capture_packets": str(capture.packets)}
    return {**work.host.variables(), **more}


def _not_reached(error: HostError) -> Finding:
    check = "reach.ssh"
    if isinstance(error, HostKeyRejected):
        check = "reach.hostkey"
    elif isinstance(error, (LoginRefused, PrivilegeRefused)):
        check = "reach.login"
    reason = f"{error.problem} ({shorten(error.evidence)})" if error.evidence else error.problem
    return Finding(check=check, verdict=Verdict.FAIL, reason=reason, evidence=error.evidence, remedy=error.remedy)


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
    lines += [f"  measured             {f.key}: {f.reason}" for f in _measured(found)]
    lines.append(f"{host}: likely causes" if found.suspicions else f"{host}: no known cause fits")
    for one in found.suspicions[:_MOST_CAUSES]:
        lines.append(f"  {100 * one.confidence:3.0f} %  {one.cause.id}: {one.cause.title}")
        lines += [f"         for      {f.key}: {f.reason}" for f in one.evidence]
        lines += [f"         against  {f.key}: {f.reason}" for f in one.against]
        lines.append(f"         do       {one.cause.remedy}")
    return "\n".join(lines)


def _measured(found: Diagnosis) -> list[Finding]:
    """The figures of first aid, good ones as well: they tell what it is not."""
    figures = [f for state in found.layers for f in state.findings if f.value is not None]
    aid = [f for f in figures if f.check.startswith("aid.")]
    return [*aid, *(f for f in figures if f.check == "host.cpu.iowait")] if aid else []


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
