"""The forms people fill in at the Prefect UI (issue 5: 2; R1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployments.forms import form_of, inventories, plans
from deployments.serve import RUNBOOKS, deployment_of
from upkeep.domain.record import RunRequest
from upkeep.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "deployments" / "examples"
ASKING = [runbook for runbook in RUNBOOKS if runbook.parameters.properties.get("request")]


def fields(runbook: Any, folder: Path) -> dict[str, Any]:
    settings = Settings.from_environment({"UPKEEP_HOME": str(folder), "UPKEEP_PLANS": str(EXAMPLES)})
    form = form_of(runbook.name, runbook.parameters.model_dump(mode="json"), settings)
    return dict(form["definitions"]["RunRequest"])


@pytest.mark.parametrize("runbook", ASKING, ids=lambda runbook: runbook.name)
def test_every_field_of_every_form_has_a_title_and_says_what_it_is_for(runbook: Any, tmp_path: Path) -> None:
    form = fields(runbook, tmp_path)
    assert [field["position"] for field in form["properties"].values()] == list(range(len(form["properties"])))
    for name, field in form["properties"].items():
        assert field["title"], name
        assert field["description"], name


@pytest.mark.parametrize("runbook", ASKING, ids=lambda runbook: runbook.name)
def test_a_form_shows_nothing_that_only_programs_fill_in_and_nothing_the_run_would_refuse(
    runbook: Any, tmp_path: Path
) -> None:
    shown = set(fields(runbook, tmp_path)["properties"])
    assert not shown & {"source", "run_id", "resume"}
    assert shown <= set(RunRequest.model_fields)


def test_plans_and_inventories_are_offered_and_any_other_file_can_be_named(tmp_path: Path) -> None:
    maintenance = next(runbook for runbook in ASKING if runbook.name == "maintenance")
    offered = fields(maintenance, tmp_path)["properties"]
    these, another = offered["plan"]["anyOf"]
    assert these["enum"] == [str(EXAMPLES / "plan-in-windows.yaml"), str(EXAMPLES / "plan.yaml")]
    assert another["type"] == "string"
    assert offered["inventory"]["anyOf"][0]["enum"] == [str(EXAMPLES / "inventory.yaml")]
    assert offered["inventory"]["default"] == str(EXAMPLES / "inventory.yaml"), "the only one there is"


def test_a_form_for_undoing_asks_for_the_run_and_not_for_a_plan(tmp_path: Path) -> None:
    form = fields(next(runbook for runbook in ASKING if runbook.name == "rollback"), tmp_path)
    assert form["required"] == ["of_run"]
    assert not {"plan", "inventory", "settings"} & set(form["properties"])


def test_what_is_not_a_plan_or_cannot_be_read_is_not_offered(tmp_path: Path) -> None:
    for name, text in (("a.yaml", "name: x\nprofile: p\nrelease: r\n"), ("b.yaml", "{"), ("c.yaml", "- 1"), ("d.txt", "profile: p\nrelease: r"), ("e.yml", "hosts: {}"), ("f.json", '{"_meta": {}}'), ("g.yaml", "a: " * 5000), ("h.yaml", "\x00")):  # fmt: skip
        (tmp_path / name).write_text(text)
    (tmp_path / "i.yaml").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "j.yaml").mkdir()
    (tmp_path / "k.yaml").symlink_to(tmp_path / "nowhere")
    assert plans([tmp_path, tmp_path / "missing"]) == [str(tmp_path / "a.yaml")]
    assert inventories([tmp_path]) == [str(tmp_path / "e.yml"), str(tmp_path / "f.json")]


def test_without_files_to_offer_a_plan_is_a_plain_field(tmp_path: Path) -> None:
    maintenance = next(runbook for runbook in ASKING if runbook.name == "maintenance")
    settings = Settings.from_environment({"UPKEEP_HOME": str(tmp_path)})
    form = form_of("maintenance", maintenance.parameters.model_dump(mode="json"), settings)
    assert form["definitions"]["RunRequest"]["properties"]["plan"]["type"] == "string"


def judged(runbook: str, folder: Path, request: dict[str, object]) -> None:
    """Judge parameters as the Prefect server does before it creates a run."""
    from prefect.utilities.schema_tools.validation import validate

    flow = next(one for one in ASKING if one.name == runbook)
    settings = Settings.from_environment({"UPKEEP_HOME": str(folder), "UPKEEP_PLANS": str(EXAMPLES)})
    form = form_of(runbook, flow.parameters.model_dump(mode="json"), settings)
    validate({"request": request}, form, raise_on_error=True)


@pytest.mark.parametrize(
    ("runbook", "request_", "reason"),
    [
        ("maintenance", {"ticket": "C" * 65}, "too long"),
        ("maintenance", {"dry_run": "perhaps"}, "boolean"),
        ("maintenance", {"plan": 7}, "valid"),
        ("rollback", {}, "of_run"),
        ("rollback", {"of_run": ""}, "short|empty"),
    ],
)
def test_a_wrong_value_is_refused_with_a_reason_before_a_run_is_created(
    tmp_path: Path, runbook: str, request_: dict[str, object], reason: str
) -> None:
    from prefect.utilities.schema_tools.validation import ValidationError

    with pytest.raises(ValidationError, match=reason):
        judged(runbook, tmp_path, request_)


def test_programs_may_name_any_file_and_the_fields_a_form_hides(tmp_path: Path) -> None:
    judged("maintenance", tmp_path, {"plan": "/elsewhere/plan.yaml", "source": "webhook", "run_id": "r1"})
    judged("maintenance", tmp_path, {"plan": str(EXAMPLES / "plan.yaml"), "resume": "r1"})


def test_the_server_judges_what_a_form_sends() -> None:
    assert all(deployment_of(runbook).enforce_parameter_schema for runbook in ASKING)
