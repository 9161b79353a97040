"""Stage planning (design 3; peers: stratified canary; faults 3, 7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.domain.inventory import Host
from upkeep.domain.plan import CanarySize, Plan
from upkeep.domain.stages import Candidate, canary_size, ordered, plan_stages, share_of, spread
from upkeep.errors import BadInput


def plan(**changes: object) -> Plan:
    return Plan.model_validate({"name": "p", "profile": "ms-720", "release": "r.json", **changes})


def candidate(name: str, cohort: str = "c", zone: str = "a") -> Candidate:
    return Candidate(Host(name=name, address="10.0.0.1", labels={"zone": zone}), cohort)


@pytest.mark.parametrize(
    ("hosts", "cohorts", "expected"),
    [
        (1, 1, 1),
        (2, 1, 1),
        (3, 1, 1),
        (8, 1, 2),
        (9, 1, 3),
        (40, 2, 3),
        (40, 7, 7),
        (100, 1, 5),
        (1000, 3, 50),
        (6, 6, 2),
    ],
)
def test_the_canary_is_the_largest_of_cohorts_share_and_three_but_never_more_than_a_third(
    hosts: int, cohorts: int, expected: int
) -> None:
    assert canary_size(CanarySize(), hosts=hosts, cohorts=cohorts) == expected


def test_a_share_is_rounded_up_and_exact_shares_stay_exact() -> None:
    assert [share_of(n, 5) for n in (1, 3, 20, 21, 100)] == [1, 1, 1, 2, 5]
    assert share_of(10, 30) == 3


def test_every_cohort_has_a_host_in_the_canary() -> None:
    hosts = [candidate(f"big{n:02}", "debian") for n in range(37)] + [
        candidate("rare1", "alpine"),
        candidate("odd1", "arm"),
    ]
    stages = plan_stages(plan(), hosts)
    assert {"rare1", "odd1"} <= set(stages.stages[0].hosts)
    assert stages.stages[0].cohorts == ("alpine", "arm", "debian")


def test_a_cohort_that_does_not_fit_into_the_canary_is_named() -> None:
    stages = plan_stages(plan(), [candidate(f"h{n}", f"cohort{n}") for n in range(6)])
    assert len(stages.stages[0].hosts) == 2
    assert "4 of 6 cohorts" in stages.notes[0]


def test_shares_are_of_the_whole_fleet_and_cumulative() -> None:
    stages = plan_stages(plan(stages=["canary", "25%", "50%", "100%"]), [candidate(f"h{n:03}") for n in range(100)])
    assert [len(s.hosts) for s in stages.stages] == [5, 20, 25, 50]


def test_counts_and_lists_take_hosts_in_their_turn() -> None:
    stages = plan_stages(plan(stages=[["h3", "h4"], 1, "100%"]), [candidate(f"h{n}") for n in range(6)])
    assert [s.hosts for s in stages.stages] == [("h3", "h4"), ("h0",), ("h1", "h2", "h5")]


def test_stages_that_do_not_reach_every_host_are_refused_with_the_hosts_named() -> None:
    with pytest.raises(BadInput, match="never reach 4 of 6 hosts: h2, h3"):
        plan_stages(plan(stages=[2]), [candidate(f"h{n}") for n in range(6)])


def test_a_stage_without_hosts_is_passed_over_and_noted() -> None:
    stages = plan_stages(plan(), [candidate("h1"), candidate("h2")])
    assert [s.name for s in stages.stages] == ["canary", "100 %"]
    assert "'25 %' has no hosts left" in stages.notes[0]


def test_hosts_in_work_at_once_are_spread_over_failure_domains() -> None:
    hosts = [candidate(f"h{n}", zone=zone) for n, zone in enumerate("aaabbc")]
    assert [c.host.labels["zone"] for c in spread(hosts, "zone")] == ["a", "b", "c", "a", "b", "a"]


names = st.lists(st.integers(0, 999), min_size=1, max_size=80, unique=True)


@given(names, st.integers(0, 5), st.integers(1, 6))
def test_every_host_is_in_exactly_one_stage_and_the_same_input_gives_the_same_stages(
    numbers: list[int], seed: int, cohorts: int
) -> None:
    hosts = [candidate(f"h{n}", f"c{n % cohorts}", "abc"[n % 3]) for n in numbers]
    stages = plan_stages(plan(seed=seed), hosts)
    listed = [name for stage in stages.stages for name in stage.hosts]
    assert sorted(listed) == sorted(c.name for c in hosts)
    assert plan_stages(plan(seed=seed), reversed(hosts)) == stages


@given(names, st.integers(1, 5))
def test_a_seed_changes_the_order_within_cohorts_only(numbers: list[int], seed: int) -> None:
    hosts = [candidate(f"h{n:03}", f"c{n % 3}") for n in numbers]
    assert [c.cohort for c in ordered(hosts, seed)] == [c.cohort for c in ordered(hosts)]
    assert [c.name for c in ordered(hosts)] == [c.name for c in sorted(hosts, key=lambda c: (c.cohort, c.name))]
