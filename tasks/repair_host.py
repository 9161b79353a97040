"""Removing the cause that a diagnosis named, under the host's lock: each repair is written down, verified, or taken back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tasks.lock_host import locked, order_of
from tasks.repair_files import filled, text_of
from tasks.session import HostWork, RunSession
from upkeep.domain.change import HostOutcome, HostResult, Step
from upkeep.domain.diagnosis import Cause, Diagnosis
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Verdict
from upkeep.domain.repairs import RepairKind, Repairs, with_certificates, with_value
from upkeep.errors import AuditError, BadInput, StepFailed, UpkeepError, shorten
from upkeep.hosts.host_repair import HostRepair
from upkeep.services.node_findings import HEARTBEAT, REGISTERED

_MOST_CAUSES = 3
"""One behind the other: what a repaired cause hid."""

_LOOK_EVERY_SECONDS = 2.0

Look = Callable[[timedelta], Diagnosis]
"""Diagnoses the host again, reading the agent's journal of this time only."""


def repairs_for(found: Diagnosis, rules: Repairs) -> tuple[RepairKind, ...]:
    """What could remove the likeliest cause, as far as the plan allows it."""
    return tuple(kind for kind in found.likely.cause.repairs if rules.possible(kind)) if found.likely else ()


@dataclass(frozen=True)
class _Repairing:
    session: RunSession
    work: HostWork
    host_repair: HostRepair
    look: Look

    @property
    def rules(self) -> Repairs:
        return self.session.record.plan.repairs


def repair(session: RunSession, host: str, found: Diagnosis, look: Look) -> tuple[Diagnosis, HostResult | None]:
    """Remove causes until none is left that can be; the last diagnosis, and what came of it: None when nothing was tried.

    Raises:
        StepFailed: the host belongs to another run, or a repair failed; what it changed was put back.
    """
    work = session.work(host)
    if not repairs_for(found, session.record.plan.repairs):
        return found, None
    with locked(session, work, order_of(session), stage="") as order:
        host_repair = HostRepair(work.transport, work.profile, order.run, order.fence, become=True)
        return _repaired(_Repairing(session, work, host_repair, look), found)


def _repaired(repairing: _Repairing, found: Diagnosis) -> tuple[Diagnosis, HostResult | None]:
    done: dict[str, str] = {}
    for _ in range(_MOST_CAUSES):
        kinds = repairs_for(found, repairing.rules)
        if not kinds or found.likely is None or found.likely.cause.id in done:
            break
        cause = found.likely.cause
        found, removed = _remove(repairing, cause, kinds)
        if not removed:
            return found, _still_there(cause, kinds, list(done.values()))
        done[cause.id] = f"{cause.id} ({removed})"
    if found.likely is not None and found.likely.cause.id not in done:
        return found, None
    reason = f"repaired: {', '.join(done.values())}; {_what_is_left(found)}"
    return found, HostResult(outcome=HostOutcome.PASSED, reason=reason)


def _what_is_left(found: Diagnosis) -> str:
    """A certificate added on the host makes up for what the control centre goes on leaving out."""
    if found.likely is None:
        return "nothing is wrong any more between this host and its control centre"
    evidence = found.likely.evidence[0]
    return f"the agent is online; still so at the other end: {evidence.key}: {evidence.reason}"


def _still_there(cause: Cause, kinds: Sequence[RepairKind], done: Sequence[str]) -> HostResult:
    before = f"; repaired before: {', '.join(done)}" if done else ""
    return HostResult(
        outcome=HostOutcome.FAILED,
        failure_class=FailureClass.ENVIRONMENT,
        reason=f"{cause.id}: still there after {', '.join(kinds)}; what was changed is put back{before}",
        remedy=cause.remedy,
    )


def _remove(repairing: _Repairing, cause: Cause, kinds: Sequence[RepairKind]) -> tuple[Diagnosis, str]:
    """Try one kind after the other; the last diagnosis, and which kind helped: empty when none did."""
    found = Diagnosis((), ())
    for kind in kinds:
        began = time.monotonic()
        try:
            with repairing.session.step(repairing.work.host.name, Step.REPAIR) as step:
                step.body |= {"cause": cause.id, "repair": kind}
                step.reason = f"{cause.id}: {_DO[kind](repairing)}"
        except StepFailed:
            _take_back(repairing, f"{kind} failed")
            raise
        found, heard = _when_settled(repairing, began, kind)
        still = any(one.cause.id == cause.id for one in found.suspicions)
        if (not still and (heard or found.likely)) or _settled(found, kind, heard=heard):
            return found, kind
        why = f"{cause.id} is still there" if still else "the control centre has not heard of the agent"
        _take_back(repairing, f"{why} after {kind}")
    return found, ""


def _when_settled(repairing: _Repairing, began: float, kind: RepairKind) -> tuple[Diagnosis, bool]:
    """The diagnosis as soon as nothing is wrong and the agent was heard of since, or the one at the end of the time."""
    until = time.monotonic() + repairing.rules.verify_within.total_seconds()
    ended = time.monotonic()
    while True:
        found = repairing.look(timedelta(seconds=time.monotonic() - began))
        heard = _heard_within(found, time.monotonic() - ended)
        if _settled(found, kind, heard=heard) or time.monotonic() >= until:
            return found, heard
        repairing.session.pause(_LOOK_EVERY_SECONDS)


def _settled(found: Diagnosis, kind: RepairKind, *, heard: bool) -> bool:
    """Nothing is wrong, or a chain was completed on the host and the agent is online: nobody completes the server's from there."""
    return heard and (found.likely is None or (kind == "chain" and _online(found)))


def _online(found: Diagnosis) -> bool:
    seen = [f for layer in found.layers for f in layer.findings if f.check == REGISTERED]
    return bool(seen) and all(f.verdict is Verdict.PASS for f in seen)


def _heard_within(found: Diagnosis, seconds: float) -> bool:
    """Whether the control centre has a heartbeat that young; where nobody can say, nothing speaks against it."""
    ages = [f.value for layer in found.layers for f in layer.findings if f.check == HEARTBEAT and f.value is not None]
    return all(age <= seconds for age in ages)


def _take_back(repairing: _Repairing, why: str) -> None:
    with repairing.session.step(repairing.work.host.name, Step.REPAIR) as step:
        step.body["repair"] = "taken back"
        undone = repairing.host_repair.undo()
        again = "" if undone.startswith("0 ") else f"; {_restarted_if_it_can(repairing)}"
        step.reason = f"{why}: {undone}{again}"


def _restarted_if_it_can(repairing: _Repairing) -> str:
    """The agent reads what was put back; it was broken before and may well not come up."""
    try:
        return _restart(repairing)
    except AuditError:
        raise
    except UpkeepError as error:
        return shorten(str(error))


def _start(repairing: _Repairing) -> str:
    return repairing.host_repair.service("start", repairing.rules)


def _restart(repairing: _Repairing) -> str:
    return repairing.host_repair.service("restart", repairing.rules)


def _permissions(repairing: _Repairing) -> str:
    done = repairing.host_repair.rights(repairing.work.profile.files)
    return f"{done}; {_restart(repairing)}"


def _configuration(repairing: _Repairing) -> str:
    done = []
    for renewed in repairing.rules.configuration:
        path = _filled(repairing, renewed.path)
        content = _filled(repairing, text_of(Path(repairing.session.record.plan_dir), renewed.template))
        done.append(repairing.host_repair.file(path, content, renewed.mode))
    return "; ".join([*done, _restart(repairing)])


def _chain(repairing: _Repairing) -> str:
    wanted = repairing.rules.chain
    if wanted is None:
        raise BadInput("the plan names no file of certificates", allowed="repairs.chain: {path: …, certificates: …}")
    path = _filled(repairing, wanted.path)
    certificates = text_of(Path(repairing.session.record.plan_dir), wanted.certificates)
    content = with_certificates(repairing.host_repair.read(path), certificates)
    return f"{repairing.host_repair.file(path, content, None)}; {_restart(repairing)}"


def _interval(repairing: _Repairing) -> str:
    wanted = repairing.rules.interval
    if wanted is None:
        raise BadInput("the plan names no interval", allowed="repairs.interval: {path: …, pattern: …, value: …}")
    path = _filled(repairing, wanted.path)
    content = with_value(repairing.host_repair.read(path), wanted.pattern, wanted.value)
    if content is None:
        raise BadInput(
            f"{path} on the host holds no such figure", found=wanted.pattern, remedy="correct repairs.interval"
        )
    return f"{repairing.host_repair.file(path, content, None)}; {_restart(repairing)}"


def _filled(repairing: _Repairing, text: str) -> str:
    return filled(text, repairing.work.host, repairing.work.profile.vars)


_DO: dict[RepairKind, Callable[[_Repairing], str]] = {
    "start": _start,
    "restart": _restart,
    "permissions": _permissions,
    "configuration": _configuration,
    "chain": _chain,
    "interval": _interval,
}
