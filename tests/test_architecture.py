"""The rooms, the runbooks and what ships (design 2, ADR 1 and 2)."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")
DEPLOYMENTS = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())["deployments"]


def test_imports_go_one_way_only() -> None:
    linter = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert linter.returncode == 0, linter.stdout


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["entrypoint"])
def test_every_deployment_names_a_flow_that_can_be_imported(deployment: dict[str, str]) -> None:
    from prefect.flows import load_flow_from_entrypoint

    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    module, _, name = deployment["entrypoint"].partition(":")
    assert (flow.name, module) == (name, f"flows.{name}")
    assert flow.description, "the UI shows a runbook's docstring"


def test_deployments_use_module_entrypoints_and_serve_the_same_runbooks_as_the_command_line() -> None:
    from upkeep.commands.running import RUNBOOKS, WATCHES

    assert all("/" not in deployment["entrypoint"] for deployment in DEPLOYMENTS)
    deployed = {deployment["entrypoint"].partition(":")[2] for deployment in DEPLOYMENTS}
    assert deployed == {*RUNBOOKS, *WATCHES, "reconciliation", "window_opener", "change_tickets", "shard"}
    served = importlib.import_module("deployments.serve").RUNBOOKS
    assert {flow.name for flow in served} == {*RUNBOOKS, *WATCHES}


@pytest.mark.parametrize("stem", FLOWS)
def test_no_flow_file_shadows_the_standard_library(stem: str) -> None:
    assert stem not in sys.stdlib_module_names


@pytest.mark.parametrize("stem", FLOWS)
def test_flow_files_define_no_models_and_no_tasks(stem: str) -> None:
    tree = ast.parse((ROOT / "flows" / f"{stem}.py").read_text())
    decorators = [
        ast.unparse(d) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for d in node.decorator_list
    ]
    assert not [d for d in decorators if d.startswith("task")]
    assert not [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any("Model" in ast.unparse(b) for b in node.bases)
    ]


def test_the_wheel_installs_one_top_level_name_and_carries_runbooks_scripts_profiles_and_migrations(
    tmp_path: Path,
) -> None:
    uv = next(
        (
            p
            for p in ("uv", str(ROOT / "build/uv/bin/uv"))
            if subprocess.run(["which", p], capture_output=True, check=False).returncode == 0
        ),
        "uv",
    )
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT], check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"upkeep"}
    for wanted in ("_project/flows/maintenance.py", "_project/deployments/prefect.yaml", "profiles/ms-720.yaml"):
        assert f"upkeep/{wanted}" in names
    assert [name for name in names if name.startswith("upkeep/hosts/scripts/") and name.endswith(".sh")]
    assert [name for name in names if name.startswith("upkeep/audit/migrations/versions/")]
