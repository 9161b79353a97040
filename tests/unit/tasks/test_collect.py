"""What a host's failure means for the host: class, outcome, remedy; one host's trouble is never another's (design 3; fault 43)."""

from __future__ import annotations

import pytest

from tasks.collect import answer_for, collected, result_of
from upkeep.domain.change import HostOutcome, HostResult
from upkeep.domain.failure import FailureClass
from upkeep.domain.orders import Change, Changed, Check, Checked, Look, Looked
from upkeep.errors import (
    ArtifactError,
    AuditError,
    BackupError,
    CommandFailed,
    CommandTimeout,
    HostLocked,
    LoginRefused,
    PrivilegeRefused,
    StepFailed,
    Unreachable,
    UpkeepError,
)


@pytest.mark.parametrize(
    ("step", "cause", "outcome", "failure_class"),
    [
        ("check", Unreachable("h", "no route"), HostOutcome.SET_ASIDE, FailureClass.UNREACHABLE),
        ("check", LoginRefused("h", "key refused"), HostOutcome.SET_ASIDE, FailureClass.UNREACHABLE),
        ("check", CommandTimeout("h", "idle"), HostOutcome.SET_ASIDE, FailureClass.UNREACHABLE),
        ("check", PrivilegeRefused("h", "sudo said no"), HostOutcome.BLOCKED, FailureClass.PRECHECK),
        ("lock", HostLocked("h", "run x"), HostOutcome.BLOCKED, FailureClass.PRECHECK),
        ("backup", BackupError("changed while read"), HostOutcome.FAILED, FailureClass.BACKUP),
        ("backup", Unreachable("h", "gone"), HostOutcome.SET_ASIDE, FailureClass.UNREACHABLE),
        ("fetch", ArtifactError("cut"), HostOutcome.FAILED, FailureClass.ARTIFACT),
        ("fetch", CommandFailed("h", "config rejected", exit_code=1), HostOutcome.FAILED, FailureClass.APPLY),
        ("switch", CommandFailed("h", "no start", exit_code=1), HostOutcome.FAILED, FailureClass.APPLY),
        ("verify", CommandFailed("h", "not well", exit_code=1), HostOutcome.FAILED, FailureClass.VERIFY),
    ],
)
def test_each_failure_is_counted_under_its_own_class(
    step: str, cause: UpkeepError, outcome: HostOutcome, failure_class: FailureClass
) -> None:
    result = result_of(StepFailed("h", step, cause))
    assert (result.outcome, result.failure_class) == (outcome, failure_class)
    assert result.reason.startswith(f"h, step {step}: ")
    assert result.remedy, "a person is told what to do, whatever failed"


def test_a_defect_is_that_hosts_outcome_and_not_the_runs_end() -> None:
    result = collected(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert (result.outcome, result.failure_class) == (HostOutcome.FAILED, FailureClass.UNKNOWN)


def test_a_history_that_cannot_be_written_ends_the_run() -> None:
    def fails() -> HostResult:
        raise StepFailed("h", "switch", AuditError("the disk is full"))

    with pytest.raises(AuditError):
        collected(fails)


def test_every_order_gets_an_answer_of_its_kind() -> None:
    def fails() -> Checked:
        raise Unreachable("h", "gone")

    checked = answer_for(Check("h"), fails)
    assert isinstance(checked, Checked)
    assert checked.result is not None
    assert isinstance(answer_for(Change("h", "canary"), fails), Changed)
    assert answer_for(Look("canary", ("h",)), fails) == Looked("canary", silent=("h",))
