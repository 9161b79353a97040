"""What ships for production says what it should, and nothing that the programs do not know (issue 5: 1; R1; D8)."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from upkeep.project import PREFECT_ENVIRONMENT

ROOT = Path(__file__).resolve().parents[3]
PRODUCTION = ROOT / "deployments" / "production"
UNITS = sorted((PRODUCTION / "systemd").glob("*.service"))
ENVIRONMENT = dict(
    line.split("=", 1) for line in (PRODUCTION / "upkeep.env").read_text().splitlines() if line and line[0] != "#"
)
COMPOSE: dict[str, Any] = yaml.safe_load((PRODUCTION / "compose.yaml").read_text())
OURS = {name: part for name, part in COMPOSE["services"].items() if name != "postgres"}
MOST_EXPOSURE = 3.0
"""systemd-analyze security calls 2 "OK" and 5 "MEDIUM"; a service without any hardening has 9.6."""


def section(unit: Path, name: str = "Service") -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return dict(parser[name])


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The units as they are once Upkeep lies in this checkout."""
    folder = tmp_path_factory.mktemp("units")
    for path in (PRODUCTION / "systemd").iterdir():
        (folder / path.name).write_text(path.read_text().replace("/opt/upkeep", str(ROOT)))
    return [folder / path.name for path in UNITS]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_systemd_finds_nothing_wrong_with_the_units(installed: list[Path]) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *installed], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if installed[0].parent.name in line or "upkeep" in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
@pytest.mark.parametrize("name", [unit.name for unit in UNITS])
def test_every_unit_is_hardened(installed: list[Path], name: str) -> None:
    unit = next(path for path in installed if path.name == name)
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    exposure = re.search(r"exposure level for .*: ([0-9.]+)", said.stdout)
    assert exposure, said.stderr
    assert float(exposure[1]) <= MOST_EXPOSURE, said.stdout
    assert section(unit)["NoNewPrivileges"] == "yes"
    assert section(unit)["User"] == "upkeep"


def test_the_worker_is_given_the_time_to_finish_its_runs_and_is_stopped_before_its_server() -> None:
    worker = PRODUCTION / "systemd" / "upkeep-worker.service"
    assert section(worker)["KillMode"] == "mixed", "flow processes must not be signalled"
    assert section(worker)["TimeoutStopSec"] == "8h"
    assert "upkeep-prefect.service" in section(worker, "Unit")["After"].split()
    assert OURS["worker"]["stop_grace_period"] == "8h"


@pytest.mark.parametrize("key", [key for key in PREFECT_ENVIRONMENT if "EPHEMERAL" not in key])
def test_both_ways_switch_telemetry_off_and_set_what_upkeep_up_sets(key: str) -> None:
    assert ENVIRONMENT[key] == PREFECT_ENVIRONMENT[key]
    assert all(part["environment"][key] == PREFECT_ENVIRONMENT[key] for part in OURS.values())


def test_the_server_asks_for_a_password_and_its_clients_know_it() -> None:
    assert ENVIRONMENT["PREFECT_SERVER_API_AUTH_STRING"] == ENVIRONMENT["PREFECT_API_AUTH_STRING"]
    server = OURS["prefect"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"]
    assert {part["environment"]["PREFECT_API_AUTH_STRING"] for part in OURS.values()} == {server}
    assert ":?" in server, "compose refuses to start without a password"


def test_nothing_listens_beyond_this_machine_by_itself() -> None:
    listening = [section(unit)["ExecStart"] for unit in UNITS if "--host" in section(unit)["ExecStart"]]
    assert len(listening) == 2
    assert all("--host 127.0.0.1" in line for line in listening)
    assert all(port.startswith("127.0.0.1:") for part in OURS.values() for port in part.get("ports", []))


def test_units_and_compose_start_the_same_programs() -> None:
    def program(words: list[str]) -> list[str]:
        return [re.sub(r"0\.0\.0\.0", "127.0.0.1", Path(word).name if "/" in word else word) for word in words]

    of_units = {unit.stem.removeprefix("upkeep-"): program(section(unit)["ExecStart"].split()) for unit in UNITS}
    assert of_units == {name: program(part["command"]) for name, part in OURS.items()}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_every_program_of_a_unit_is_there(unit: Path) -> None:
    program, *words = section(unit)["ExecStart"].split()
    assert os.access(program.replace("/opt/upkeep", str(ROOT)), os.X_OK)
    if words[0] == "-m":
        found = importlib.util.find_spec(words[1])
        assert found is not None
        assert found.submodule_search_locations is None or importlib.util.find_spec(f"{words[1]}.__main__")


def test_every_volume_and_dependency_of_compose_is_declared() -> None:
    for part in COMPOSE["services"].values():
        assert set(part.get("depends_on", {})) <= set(COMPOSE["services"])
        named = {volume.split(":")[0] for volume in part["volumes"] if volume[0] not in "./"}
        assert named <= set(COMPOSE["volumes"])
        files = [PRODUCTION / volume.split(":")[0] for volume in part["volumes"] if volume.startswith("./")]
        assert all(path.exists() for path in files if path.suffix)
    build = COMPOSE["x-part"]["build"]
    assert (PRODUCTION / build["context"] / build["dockerfile"]).resolve() == PRODUCTION / "Dockerfile"


def test_the_image_holds_everything_that_is_copied_into_it() -> None:
    lines = (PRODUCTION / "Dockerfile").read_text().splitlines()
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    assert "USER upkeep" in lines
