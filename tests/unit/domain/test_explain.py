"""The plan read back as sentences says the exact numbers."""

from __future__ import annotations

from upkeep.domain.explain import explain
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.stages import Candidate, plan_stages


def sentences(size: int, **changes: object) -> str:
    plan = Plan.model_validate({"name": "night", "profile": "ms-720", "release": "r.json", **changes})
    hosts = [Candidate(Host(name=f"h{n:03}", address=f"10.0.0.{n}"), "c") for n in range(1, size + 1)]
    return "\n".join(explain(plan, plan_stages(plan, hosts), release=None, fleet_size=size))


def test_limits_are_printed_with_this_fleets_numbers() -> None:
    text = sentences(110)
    assert "At most 11 hosts are down at once" in text
    assert "stops at the 1st failed host" in text
    assert "at the 2nd failure while up to 39 hosts are finished, at the 6th when all 110 are" in text
    assert "stops at the 11th of 110 targets" in text


def test_a_trigger_is_read_back_with_its_limit_and_time() -> None:
    trigger = {
        "name": "replication lag",
        "source": {"url": "http://m", "json_path": "v"},
        "above": 30,
        "lasting": "5m",
        "then": "roll back all",
    }
    assert "when 'replication lag' is above 30 for 5 min, roll back all" in sentences(10, triggers=[trigger])


def test_approvals_are_read_back_with_who_and_how_long() -> None:
    text = sentences(10, approvals={"stage": "later", "needed": 2, "roles": ["sre", "tech lead"], "expires": "2d"})
    assert (
        "Before every stage but the first the run waits, for 2 d at most, for 2 people (sre or tech lead) to approve"
        in text
    )


def test_isolation_is_read_back_with_how_many_and_for_how_long() -> None:
    hook = {"command": ["pool", "drain", "{{ host }}"]}
    text = sentences(60, isolation={"drain": hook, "restore": hook, "healthy_for": "15m"})
    assert (
        "takes failing hosts out of service, at most 6 hosts at once, and puts those back that have been healthy for 15 min"
        in text
    )
