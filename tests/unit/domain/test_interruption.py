"""How far a run had come when its controller died, told by its events alone (R5; faults 28, 46)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from upkeep.domain.change import HostOutcome, HostResult, Step
from upkeep.domain.failure import FailureClass
from upkeep.domain.interruption import interrupted
from upkeep.domain.orders import Undo
from upkeep.domain.record import Actor, Event, Happening
from upkeep.domain.stages import PlannedStage, StagePlan

CANARY = StagePlan(
    stages=(PlannedStage(name="canary", hosts=("h1", "h2"), soak=timedelta(minutes=10), is_canary=True),)
)


def event(action: str, happening: Happening = Happening.NOTE, **more: Any) -> Event:
    return Event(
        seq=1, at=datetime.now(UTC), run="r", actor=Actor(name="me"), action=action, happening=happening, **more
    )


def committed(host: str) -> Event:
    result = HostResult(outcome=HostOutcome.COMMITTED)
    return event("host.result", host=host, body=result.model_dump(mode="json", exclude={"reason"}))


PLANNED = event("run.planned", body=CANARY.model_dump(mode="json"))


def test_a_run_whose_stages_were_never_planned_has_changed_nothing() -> None:
    assert interrupted([event("run.opened"), event("step.check", Happening.INTENT, host="h1", step=Step.CHECK)]) is None


def test_a_host_with_an_intent_and_no_result_was_in_work() -> None:
    left = interrupted([PLANNED, event("step.backup", Happening.INTENT, host="h1", stage="canary", step=Step.BACKUP)])
    assert left is not None
    assert left.begun == ("h1",)


def test_a_host_that_got_worse_counts_as_a_failure_though_its_way_back_was_cut_by_a_kill() -> None:
    left = interrupted(
        [
            PLANNED,
            committed("h1"),
            committed("h2"),
            event("stage.looked", stage="canary", body={"worse": {"h1": ["the unit is failed"]}, "silent": []}),
            event("step.lock", Happening.INTENT, host="h1", stage="canary", step=Step.LOCK),
        ]
    )
    assert left is not None
    assert left.undoing == (
        Undo("h1", "canary", "got worse after the change: the unit is failed", FailureClass.REGRESS),
    )


def test_a_host_going_back_for_a_gate_is_no_failure_of_its_own() -> None:
    gate = event("run.stopped", reason="errors above 10", body={"kind": "gate", "undo": "roll back all"})
    begun = event("step.rollback", Happening.INTENT, host="h1", stage="canary", step=Step.ROLLBACK)
    left = interrupted([PLANNED, committed("h1"), gate, begun])
    assert left is not None
    assert left.undoing == (Undo("h1", "canary", "errors above 10"),)


def test_a_host_found_worse_just_before_a_kill_goes_back_for_that_and_not_for_the_stop_that_followed() -> None:
    left = interrupted(
        [
            PLANNED,
            committed("h1"),
            committed("h2"),
            event("stage.looked", stage="canary", body={"worse": {"h1": ["the unit is failed"]}, "silent": []}),
            event("run.stopped", reason="2 of 2 failed", body={"kind": "failures", "undo": "roll back stage"}),
        ]
    )
    assert left is not None
    assert left.undoing == (
        Undo("h1", "canary", "got worse after the change: the unit is failed", FailureClass.REGRESS),
    )


def test_a_host_found_worse_that_is_back_already_is_left_alone() -> None:
    back = HostResult(outcome=HostOutcome.ROLLED_BACK, failure_class=FailureClass.REGRESS)
    left = interrupted(
        [
            PLANNED,
            committed("h1"),
            event("stage.looked", stage="canary", body={"worse": {"h1": ["the unit is failed"]}, "silent": []}),
            event("host.result", host="h1", body=back.model_dump(mode="json", exclude={"reason"})),
        ]
    )
    assert left is not None
    assert left.undoing == ()
