"""Gates (U7; faults 40, 41): unknown is never go."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.domain.gate import Decision, Sample, failure_rate_bound, judge_stage, judge_trigger
from upkeep.domain.plan import Soak, Trigger

START = datetime(2026, 11, 21, tzinfo=UTC)
ERRORS = Trigger.model_validate(
    {"name": "errors", "source": {"url": "http://m", "json_path": "v"}, "above": 10, "lasting": "2m"}
)


def samples(*values: float | None, every_seconds: int = 30) -> list[Sample]:
    return [Sample(START + timedelta(seconds=n * every_seconds), value) for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "over", "decision"),
    [
        ([1, 1, 1], True, Decision.GO),
        ([1, 1], True, Decision.HOLD),
        ([], True, Decision.HOLD),
        ([50, 50, 50, 50, 50], False, Decision.ROLL_BACK),
        ([50, 50, 50, 50], False, Decision.GO),
        ([1, 1, 50], True, Decision.WAIT),
        ([10, 10, 10, 10, 10], True, Decision.GO),
        ([50, None, None, None, 50], False, Decision.ROLL_BACK),
        ([1, None, None, None, None], False, Decision.HOLD),
        ([1, math.nan, math.inf, None, math.nan], False, Decision.HOLD),
        ([50, 50, 1, 50, 50], True, Decision.WAIT),
    ],
)
def test_a_trigger_fires_only_after_its_limit_was_passed_long_enough_and_holds_on_silence(
    values: list[float | None], over: bool, decision: Decision
) -> None:
    assert judge_trigger(ERRORS, samples(*values), Soak(), over=over).decision is decision


@pytest.mark.parametrize(
    ("counts", "decision"),
    [
        ([1000, 1030, 1060, 1090], Decision.GO),
        ([1000, 1900, 2800, 3700, 4600, 5500], Decision.ROLL_BACK),
        ([90_000, 30, 60, 90], Decision.GO),
        ([90_000, 900, 1800, 2700, 3600, 4500], Decision.ROLL_BACK),
        ([0, 0, 0], Decision.HOLD),
    ],
    ids=["slow", "fast", "reset and slow", "reset and fast", "three counts are two figures"],
)
def test_a_counter_is_judged_by_its_increase_and_a_reset_is_no_decrease(
    counts: list[float], decision: Decision
) -> None:
    counter = ERRORS.model_copy(update={"counter": True})
    assert judge_trigger(counter, samples(*counts), Soak(), over=True).decision is decision


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=True)), max_size=20))
def test_without_enough_figures_no_gate_says_go_at_the_end_of_soak(values: list[float | None]) -> None:
    known = [v for v in values if v is not None and math.isfinite(v)]
    judgement = judge_stage([ERRORS], {"errors": samples(*values)}, Soak(), over=True, finished=3, is_canary=True)
    if len(known) < Soak().samples:
        assert judgement.decision is not Decision.GO


def test_a_canary_of_which_no_host_finished_holds_and_a_later_stage_leans_on_the_earlier_ones() -> None:
    assert judge_stage([], {}, Soak(), over=True, finished=0, is_canary=True).decision is Decision.HOLD
    assert judge_stage([], {}, Soak(), over=True, finished=0, is_canary=False).decision is Decision.GO


def test_a_passed_gate_says_how_much_its_evidence_is_worth() -> None:
    assert "26%" in judge_stage([], {}, Soak(), over=True, finished=10, is_canary=True).reason


@pytest.mark.parametrize(("clean", "bound"), [(0, 1.0), (2, 0.78), (5, 0.45), (10, 0.26), (20, 0.14), (50, 0.06)])
def test_the_bound_is_the_exact_binomial_one(clean: int, bound: float) -> None:
    assert failure_rate_bound(clean) == pytest.approx(bound, abs=0.005)
