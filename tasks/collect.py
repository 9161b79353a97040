"""Turning what finally failed on a host into that host's outcome.

This is the per-host boundary: one host's trouble never ends the run of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from upkeep.domain.change import CLASS_OF_STEP, HostOutcome, HostResult, Step
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding
from upkeep.domain.orders import Changed, Check, Checked, Event, Look, Looked, Order
from upkeep.errors import (
    AuditError,
    Cancelled,
    CommandFailed,
    CommandTimeout,
    HostError,
    HostLocked,
    LoginRefused,
    PrivilegeRefused,
    StepFailed,
    Unreachable,
    UpkeepError,
)

log = logging.getLogger(__name__)

_NO_CONTACT = (Unreachable, LoginRefused)
_NOT_ALLOWED = (PrivilegeRefused, HostLocked)


def collected(answer: Callable[[], HostResult]) -> HostResult:
    """What a host's task answered, or what its failure means for the host."""
    try:
        return answer()
    except Exception as error:  # noqa: BLE001 - the per-host boundary
        return result_of(error)


def answer_for(order: Order, answer: Callable[[], Event]) -> Event:
    """What the engine is told: the task's own answer, or the outcome its failure means."""
    try:
        return answer()
    except Exception as error:  # noqa: BLE001 - the per-host boundary
        result = result_of(error)
        if isinstance(order, Look):
            return Looked(order.stage, silent=order.hosts)
        return Checked(order.host, None, result) if isinstance(order, Check) else Changed(order.host, result)


def result_of(error: BaseException) -> HostResult:
    """The outcome of a host whose task ended with `error`.

    Raises:
        AuditError: the history cannot be written; that ends the run, not just the host.
    """
    if isinstance(error, AuditError):
        raise error
    if not isinstance(error, UpkeepError):
        log.error("a defect in Upkeep ended one host's work", exc_info=error)
        return HostResult(
            outcome=HostOutcome.FAILED,
            failure_class=FailureClass.UNKNOWN,
            reason=f"unexpected {type(error).__name__}: {error}",
            remedy="look at the host with `upkeep status`, then report this with the log",
        )
    step = Step(error.step) if isinstance(error, StepFailed) else Step.CHECK
    cause = error.cause if isinstance(error, StepFailed) else error
    if isinstance(cause, AuditError):
        raise cause
    return _expected(step, cause, reason=str(error))


def _expected(step: Step, cause: UpkeepError, *, reason: str) -> HostResult:
    if isinstance(cause, Cancelled):
        return HostResult(outcome=HostOutcome.NOT_STARTED, reason=str(cause), remedy="upkeep retry")
    remedy = (cause.remedy if isinstance(cause, HostError) else "") or "remove the cause, then: upkeep retry"
    if isinstance(cause, _NO_CONTACT) or (isinstance(cause, CommandTimeout) and step is Step.CHECK):
        return HostResult(
            outcome=HostOutcome.SET_ASIDE, failure_class=FailureClass.UNREACHABLE, reason=reason, remedy=remedy
        )
    if isinstance(cause, _NOT_ALLOWED):
        return HostResult(
            outcome=HostOutcome.BLOCKED, failure_class=FailureClass.PRECHECK, reason=reason, remedy=remedy
        )
    failure_class = CLASS_OF_STEP[step]
    if step is Step.FETCH and isinstance(cause, CommandFailed):
        failure_class = FailureClass.APPLY  # what arrived is right, but will not run here: its own check said no
    outcome = HostOutcome.BLOCKED if step in {Step.CHECK, Step.LOCK} else HostOutcome.FAILED
    return HostResult(outcome=outcome, failure_class=failure_class, reason=reason, remedy=remedy)


def result_of_findings(blocking: tuple[Finding, ...], failure_class: FailureClass, *, version: str = "") -> HostResult:
    """A host that its findings keep from being changed: reason and remedy of the worst, the others counted."""
    first = blocking[0]
    more = f" (and {len(blocking) - 1} more findings)" if len(blocking) > 1 else ""
    return HostResult(
        outcome=HostOutcome.BLOCKED,
        failure_class=failure_class,
        from_version=version or None,
        reason=f"{first.key}: {first.reason}{more}",
        remedy=first.remedy,
    )
