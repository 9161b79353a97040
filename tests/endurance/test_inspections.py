"""A lab inspected night after night, broken, diagnosed and healed, through the command line (issue 7: 2, 3; U12 C2 C6 R6 R7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.lab.controller import Controller
from upkeep.lab.lab import Lab

BROKEN = {"h1": ("stopped", "stopped"), "h2": ("wrong-address", "wrong-address"), "h3": ("mtu", "mtu")}


@pytest.fixture
def words(lab: Lab) -> tuple[str, ...]:
    return ("-i", str(lab.inventory_path), "-p", str(lab.plan_path))


def test_a_fleet_is_quiet_until_it_is_broken_each_cause_is_named_and_what_is_healed_is_gone(
    lab: Lab, controller: Controller, words: tuple[str, ...]
) -> None:
    for _ in range(2):
        code, report = controller.json("run", "health_inspection", *words)
        assert (code, report["reason"]) == (0, "inspected: 0 new, 0 still, 0 gone"), report
    for host, (fault, _) in BROKEN.items():
        lab.break_(host, fault)
    code, report = controller.json("run", "connection_diagnosis", *words, "--set", "hosts=h1")
    assert set(report["hosts"]) == {"h1"}
    code, report = controller.json("run", "connection_diagnosis", *words, "--hosts", "all")
    named = {
        name: result["reason"].partition(" ")[0]
        for name, result in report["hosts"].items()
        if result["outcome"] == "failed"
    }
    assert named == {host: cause for host, (_, cause) in BROKEN.items()}, report
    assert code == 1
    code, report = controller.json("run", "health_inspection", *words)
    assert code == 1
    assert report["hosts"]["h1"]["outcome"] == "failed"
    assert report["hosts"]["h4"]["outcome"] == "passed"
    for host in BROKEN:
        lab.heal(host)
    code, report = controller.json("run", "health_inspection", *words)
    assert " 0 still" in report["reason"], report
    assert not report["reason"].endswith(" 0 gone"), report
    pages = sorted((controller.home / "reports").glob("*.html"))
    assert len(pages) == 4
    assert all(Path(page).stat().st_size > 1000 for page in pages)
