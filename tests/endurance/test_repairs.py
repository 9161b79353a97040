"""What a diagnosis names is removed when it is asked for: on hosts of a lab, through the command line (issue 7: 3; C6 D7)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.e2e.lab.controller import Controller
from upkeep.lab.lab import Lab

REPAIRED = {"h1": ("stopped", "stopped (start)"), "h2": ("wrong-address", "wrong-address (configuration)"), "h3": ("bad-config", "bad-configuration (configuration)")}  # fmt: skip


@pytest.fixture
def words(lab: Lab) -> tuple[str, ...]:
    return ("run", "connection_diagnosis", "-i", str(lab.inventory_path), "-p", str(lab.plan_path))


def test_what_can_be_repaired_is_offered_then_repaired_and_verified_and_the_rest_is_left_alone(
    lab: Lab, controller: Controller, words: tuple[str, ...]
) -> None:
    for host, (fault, _) in REPAIRED.items():
        lab.break_(host, fault)
    lab.break_("h4", "mtu")
    hosts = ",".join([*REPAIRED, "h4"])
    code, report = controller.json(*words, "--hosts", hosts)
    assert code == 1
    assert {h for h, result in report["hosts"].items() if "--set apply=true" in result["remedy"]} == set(REPAIRED)
    code, report = controller.json(*words, "--set", "apply=true", "--hosts", hosts)
    said = {host: result["reason"] for host, result in report["hosts"].items()}
    for host, (_, repaired) in REPAIRED.items():
        assert said[host].startswith(f"repaired: {repaired}; nothing is wrong any more"), said
    assert said["h4"].startswith("mtu "), said
    assert code == 1, "h4 is as broken as before"
    online = {status.name for status in lab.status() if status.online}
    assert set(REPAIRED) <= online
    code, report = controller.json(*words, "--hosts", ",".join(REPAIRED))
    assert code == 0, report


def test_a_repair_that_does_not_help_is_taken_back(lab: Lab, controller: Controller, words: tuple[str, ...]) -> None:
    lab.break_("h2", "wrong-address")
    config = lab.paths.host("h2").config
    before = config.read_text("utf-8")
    template = lab.directory / "agent.yaml.template"
    template.write_text(
        re.sub(r"(?m)^server: .*$", "server: https://127.0.0.1:9", template.read_text("utf-8")), "utf-8"
    )
    code, report = controller.json(*words, "--set", "apply=true", "--set", "repairs.verify_within=5s", "--hosts", "h2")
    assert code == 1
    assert "still there after configuration; what was changed is put back" in report["hosts"]["h2"]["reason"]
    assert config.read_text("utf-8") == before


def test_repairs_wait_for_people_where_the_plan_demands_approvals(
    lab: Lab, controller: Controller, words: tuple[str, ...]
) -> None:
    plan = yaml.safe_load(lab.plan_path.read_text("utf-8"))
    demanding = Path(lab.directory) / "demanding.yaml"
    demanding.write_text(yaml.safe_dump({**plan, "approvals": {"needed": 1}}), "utf-8")
    lab.break_("h1", "stopped")
    asked = [str(demanding) if word == str(lab.plan_path) else word for word in words]
    code, report = controller.json(*asked, "--set", "apply=true", "--hosts", "h1")
    assert code == 5, report
    assert "waits for the approval of stage 'repairs'" in report["reason"]
    assert next(status for status in lab.status() if status.name == "h1").active == "inactive"
