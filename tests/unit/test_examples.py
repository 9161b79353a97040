"""The examples that ship can be used as they are."""

from __future__ import annotations

from pathlib import Path

from upkeep.documents import load_inventory, load_plan, load_profile, resolve
from upkeep.domain.plan import Plan
from upkeep.domain.selector import Selector

EXAMPLES = Path(__file__).resolve().parents[2] / "deployments" / "examples"


def test_the_example_inventory_plan_and_profile_fit_together() -> None:
    plan = load_plan(EXAMPLES / "plan.yaml")
    profile = load_profile(plan.profile, EXAMPLES / "plan.yaml")
    hosts = Selector(plan.targets).pick(load_inventory(EXAMPLES / "inventory.yaml").all_hosts())
    assert [host.name for host in hosts] == ["app-n1", "app-n2", "app-s1", "app-s2"]
    filled = {host.name: resolve(profile, host) for host in hosts}
    assert filled["app-n1"].paths.binary == "/usr/local/bin/ms-720-agent"
    assert filled["app-s1"].control_centre is not None
    assert filled["app-s1"].control_centre.url == "https://cc.south.example:8443"


def test_what_the_example_plan_writes_out_are_the_defaults() -> None:
    plan = load_plan(EXAMPLES / "plan.yaml")
    empty = Plan(name="x", profile="ms-720", release="r")
    for key in (
        "down_budget_pct",
        "healthy_time",
        "healthy_deadline",
        "dead_man",
        "soak",
        "on_stop",
        "spread_by",
        "rollback_window",
    ):
        assert getattr(plan, key) == getattr(empty, key), key
    assert plan.failures == empty.failures
