"""Plans: the design's defaults, and what is refused (bad input of issue 2)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from upkeep.domain.failure import StopRule
from upkeep.domain.plan import Plan, fingerprint


def plan(**changes: object) -> Plan:
    return Plan.model_validate({"name": "p", "profile": "ms-720", "release": "r.json", **changes})


def test_an_empty_plan_has_the_designs_defaults() -> None:
    empty = plan()
    assert [stage.title for stage in empty.stages] == ["canary", "25 %", "100 %"]
    assert [empty.soak_of(stage) for stage in empty.stages] == [timedelta(minutes=m) for m in (10, 5, 5)]
    assert (empty.healthy_time, empty.healthy_deadline, empty.dead_man) == tuple(
        timedelta(seconds=s) for s in (60, 300, 600)
    )
    assert empty.down_budget_pct == 10
    assert empty.failures.canary.stops_at(3) == 1
    assert empty.failures.later.stops_at(110) == 6
    assert empty.rollback_window == timedelta(days=7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": ["canary", "120%"]}, "less than or equal to 100"),
        ({"stages": ["canary", "50%"]}, "never reach the whole fleet"),
        ({"stages": ["50%", "25%", "100%"]}, "must rise"),
        ({"stages": ["50%", "canary", "100%"]}, "canary comes first"),
        ({"stages": ["half"]}, "is not a stage"),
        ({"stages": []}, "at least 1 item"),
        ({"stages": [{"pct": 5, "count": 3}]}, "exactly one of"),
        ({"down_budget_pct": 0}, "greater than 0"),
        ({"dead_man": "1m"}, "longer than healthy_deadline"),
        ({"healthy_time": "6m"}, "longer than healthy_time"),
        ({"healthy_time": "soon"}, "not a duration"),
        ({"targts": "all"}, "Extra inputs"),
        ({"targets": "a,,b"}, "empty term"),
        ({"failures": {"canary": {"over_pct": 5, "at_pct": 5}}}, "two ways to say one thing"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        plan(**changes)


def test_the_fingerprint_changes_with_any_part_and_not_with_key_order() -> None:
    assert fingerprint(plan()) == fingerprint(plan())
    assert fingerprint(plan()) != fingerprint(plan(down_budget_pct=11))
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("rule", "of", "at"), [(StopRule(at_least=2, over_pct=5), 110, 6), (StopRule(), 5, 1), (StopRule(at_pct=10), 40, 4)]
)
def test_a_stop_rule_stops_exactly_at_the_number_it_prints(rule: StopRule, of: int, at: int) -> None:
    assert rule.stops_at(of) == at
    assert rule.stops(at, of)
    assert not rule.stops(at - 1, of)


def test_a_plan_survives_being_written_down_and_read_again() -> None:
    written = plan(stages=["canary", {"canary": None, "pct": 25}, 4, ["h1", "h2"], "100%"], triggers=[])
    assert Plan.model_validate(written.model_dump(mode="json")) == written
    assert Plan.model_validate_json(written.model_dump_json()) == written
