"""The examples that ship can be used as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from upkeep.documents import load_inventory, load_plan, load_profile, resolve
from upkeep.documents.loading import parse_plan
from upkeep.domain.plan import Plan
from upkeep.domain.release_plan import file_name, plan_name, written_plan
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


def test_the_example_template_can_be_filled_and_read_again() -> None:
    template = (EXAMPLES / "ms-720.template.yaml").read_text()
    at = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    address = "https://cc.example:8443/releases/1.6.0/release.json"
    text = written_plan(
        template, name=plan_name("ms-720", "1.6.0"), release=address, source="ms-720.template.yaml", at=at
    )
    plan = parse_plan(text, file_name("ms-720.template.yaml", "1.6.0"))
    assert (plan.name, plan.release, plan.schedule) == ("ms-720-1.6.0", address, None)
    assert file_name("ms-720.template.yaml", "1.6.0") == file_name("ms-720-1.5.0.yaml", "1.6.0") == "ms-720-1.6.0.yaml"


def test_the_example_plan_in_windows_starts_by_itself_once_its_last_line_is_uncommented(tmp_path: Path) -> None:
    text = (EXAMPLES / "plan-in-windows.yaml").read_text()
    assert parse_plan(text, "plan.yaml").schedule is None
    schedule = parse_plan(text.replace("# schedule:", "schedule:"), "plan.yaml").schedule
    assert schedule is not None
    assert (schedule.runbook, schedule.inventory) == ("maintenance", "inventory.yaml")
