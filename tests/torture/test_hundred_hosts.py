"""A hundred hosts in one run on one machine (issue 2, "Shown by")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.lab.controller import Controller, outcomes
from upkeep.lab.lab import Lab


@pytest.fixture
def hundred(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "lab")
    made.up(hosts=100)
    yield made
    made.remove()


@pytest.mark.timeout(1200)
def test_a_hundred_hosts_go_to_the_new_version_in_one_run_without_an_error(
    hundred: Lab, controller: Controller
) -> None:
    settings = (
        "healthy_time=2s",
        "healthy_deadline=100s",
        "dead_man=200s",
        "soak.canary=1s",
        "soak.other=1s",
        "soak.every=1s",
        "at_once=25",
    )
    code, report = controller.run(hundred, settings=(*settings, "down_budget_pct=30"))
    assert (code, report["outcome"]) == (0, "succeeded"), {
        n: r for n, r in report["hosts"].items() if r["outcome"] != "committed"
    }
    assert len(outcomes(report)) == 100
    assert set(outcomes(report).values()) == {"committed"}
    assert controller("history", "verify").returncode == 0
