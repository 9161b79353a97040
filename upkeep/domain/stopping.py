"""When a run stops, and what its outcome is then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.failure import CHANGE_FAILURES, FailureClass, FailureRules, StopRule
from upkeep.domain.plan import Plan
from upkeep.domain.stages import PlannedStage


class StopKind(StrEnum):
    """Why no further host is started."""

    ASKED = "asked"
    LIMIT = "limit"
    FAILURES = "failures"
    QUARANTINE = "quarantine"
    HOLD = "hold"
    GATE = "gate"
    WINDOW = "window"


@dataclass(frozen=True)
class Stop:
    """A stop with its reason and what becomes of the hosts already committed."""

    kind: StopKind
    reason: str
    undo: Literal["keep", "roll back stage", "roll back all"] = "keep"


Results = Mapping[str, HostResult]

_NEVER_HAD_A_TURN = {HostOutcome.SET_ASIDE, HostOutcome.BLOCKED, HostOutcome.ALREADY_CURRENT, HostOutcome.NOT_STARTED}


def down_allowed(fleet_size: int, pct: float) -> int:
    """Hosts of a fleet that may be down at once: the share rounded down, at least one."""
    return max(1, int(fleet_size * pct / 100 + 1e-9))


def is_quarantined(result: HostResult) -> bool:
    """Whether the host may be in a bad state: its rollback failed, or nobody knows what happened."""
    return result.outcome is HostOutcome.FAILED and result.failure_class in {
        FailureClass.ROLLBACK,
        FailureClass.UNKNOWN,
    }


def stop_for_failures(plan: Plan, results: Results, targets: int, stage: PlannedStage | None) -> Stop | None:
    """The first stop that the failures so far call for; None while they are within their limits."""
    quarantined = [name for name, result in results.items() if is_quarantined(result)]
    if quarantined:
        return Stop(
            StopKind.QUARANTINE, f"{quarantined[0]} is quarantined: {results[quarantined[0]].reason}", plan.on_stop
        )
    classes = [r.failure_class for r in results.values() if r.failure_class is not None]
    for rule, counted in _rules_for_all(plan.failures):
        if rule.stops(classes.count(counted), targets):
            return Stop(
                StopKind.LIMIT, _too_many(rule, classes.count(counted), targets, f"targets failed as '{counted.value}'")
            )
    return None if stage is None else _stop_for_change(plan, results, stage)


def run_outcome(results: Results, stop: Stop | None, *, dry_run: bool) -> tuple[RunOutcome, str]:
    """Outcome and reason of a run that is over."""
    count = {outcome: sum(r.outcome is outcome for r in results.values()) for outcome in HostOutcome}
    good = count[HostOutcome.COMMITTED] + count[HostOutcome.ALREADY_CURRENT]
    summary = ", ".join(f"{number} {outcome.value}" for outcome, number in count.items() if number)
    if any(is_quarantined(result) for result in results.values()):
        return RunOutcome.FAILED, stop.reason if stop else summary
    if stop is not None:
        undone = count[HostOutcome.ROLLED_BACK] and not count[HostOutcome.COMMITTED]
        return _stopped_outcome(stop, undone=bool(undone)), stop.reason
    if dry_run:
        return RunOutcome.SUCCEEDED, f"dry run, nothing was changed: {summary}"
    if good == len(results):
        return RunOutcome.SUCCEEDED, summary
    if good:
        return RunOutcome.WITH_EXCEPTIONS, summary
    return (
        RunOutcome.ROLLED_BACK if count[HostOutcome.ROLLED_BACK] else RunOutcome.STOPPED
    ), f"no host runs the new version: {summary}"


def _stopped_outcome(stop: Stop, *, undone: bool) -> RunOutcome:
    if stop.kind is StopKind.HOLD:
        return RunOutcome.HELD
    return RunOutcome.ROLLED_BACK if undone and stop.kind in {StopKind.FAILURES, StopKind.GATE} else RunOutcome.STOPPED


def _rules_for_all(rules: FailureRules) -> tuple[tuple[StopRule, FailureClass], ...]:
    return (
        (rules.unreachable, FailureClass.UNREACHABLE),
        (rules.precheck, FailureClass.PRECHECK),
        (rules.environment, FailureClass.ENVIRONMENT),
    )


def _stop_for_change(plan: Plan, results: Results, stage: PlannedStage) -> Stop | None:
    rule = plan.failures.canary if stage.is_canary else plan.failures.later
    finished = [r for r in results.values() if r.outcome not in _NEVER_HAD_A_TURN]
    failed = [r for r in finished if r.failure_class in CHANGE_FAILURES]
    if not rule.stops(len(failed), len(finished)):
        return None
    kinds = ", ".join(sorted({r.failure_class.value for r in failed if r.failure_class}))
    where = "finished canary hosts failed" if stage.is_canary else "finished hosts failed"
    return Stop(StopKind.FAILURES, _too_many(rule, len(failed), len(finished), f"{where} ({kinds})"), plan.on_stop)


def _too_many(rule: StopRule, failures: int, of: int, what: str) -> str:
    return f"{failures} of {of} {what}; the run stops at {rule.stops_at(of)}"
