"""A look without a plan means this controller's lab; a change never does (issue 7: shown by)."""

from __future__ import annotations

from pathlib import Path

import pytest

from upkeep.commands.running import of_the_lab
from upkeep.domain.record import RunRequest


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UPKEEP_HOME", str(tmp_path))
    folder = tmp_path / "lab"
    folder.mkdir()
    for name in ("fleet.json", "plan.yaml", "inventory.yaml"):
        (folder / name).touch()
    return folder


def test_a_look_that_names_no_plan_is_at_the_lab_and_says_so(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = of_the_lab("connection_diagnosis", RunRequest(hosts="h3"))
    assert (asked.plan, asked.inventory, asked.hosts) == (str(lab / "plan.yaml"), str(lab / "inventory.yaml"), "h3")
    assert str(lab) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("runbook", "request_"),
    [("maintenance", RunRequest()), ("health_inspection", RunRequest(plan="mine.yaml")), ("backup", RunRequest())],
)
def test_a_change_or_a_look_with_a_plan_is_left_as_it_is(lab: Path, runbook: str, request_: RunRequest) -> None:
    assert lab.exists()
    assert of_the_lab(runbook, request_) == request_


def test_without_a_lab_nothing_is_made_up(lab: Path) -> None:
    (lab / "fleet.json").unlink()
    assert of_the_lab("health_inspection", RunRequest()) == RunRequest()
