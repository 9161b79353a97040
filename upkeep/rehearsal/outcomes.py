"""What a failed step means for a host, as the runbooks' own steps see it."""

from __future__ import annotations

from upkeep.domain.change import CLASS_OF_STEP, HostOutcome, HostResult, Step
from upkeep.domain.failure import FailureClass
from upkeep.errors import CommandFailed, HostError, HostLocked, StepFailed, Unreachable


def result_of(error: StepFailed) -> HostResult:
    """The outcome of a host whose work ended with `error`."""
    step, cause = Step(error.step), error.cause
    remedy = cause.remedy if isinstance(cause, HostError) else ""
    if isinstance(cause, Unreachable):
        outcome, failure_class = HostOutcome.SET_ASIDE, FailureClass.UNREACHABLE
    elif isinstance(cause, HostLocked):
        outcome, failure_class = HostOutcome.BLOCKED, FailureClass.PRECHECK
    else:
        outcome = HostOutcome.BLOCKED if step in {Step.CHECK, Step.LOCK} else HostOutcome.FAILED
        arrived = step is Step.FETCH and isinstance(cause, CommandFailed)
        failure_class = FailureClass.APPLY if arrived else CLASS_OF_STEP[step]
    return HostResult(outcome=outcome, failure_class=failure_class, reason=str(error), remedy=remedy)
