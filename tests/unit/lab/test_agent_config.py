from __future__ import annotations

from pathlib import Path

import pytest

from upkeep.lab.host_files import agent_config as config_text
from upkeep.lab.layout import LabPaths
from upkeep.lab.ms_720_agent import config as agent_config
from upkeep.lab.ms_720_agent.command_line import main
from upkeep.lab.spec import new_spec

GOOD = {
    "server": "https://127.0.0.1:8443",
    "tls_ca": "/etc/mcp/ca.pem",
    "agent_id": "h1",
    "listen": "127.0.0.1:7200",
    "state_dir": "/var/lib/mcp",
}


def written(folder: Path, **changes: str) -> str:
    path = folder / "agent.yaml"
    path.write_text("# a comment\n\n" + "".join(f"{key}: {value}\n" for key, value in {**GOOD, **changes}.items()))
    return str(path)


def test_a_configuration_is_read_with_its_defaults(tmp_path: Path) -> None:
    read = agent_config.read_config(written(tmp_path, log_level="'WARN'"))
    assert (read["listen"], read["log_level"], read["heartbeat_interval"]) == ("127.0.0.1:7200", "WARN", "30")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"servr": "x"}, "agent.yaml:8: 'servr' is not a key"),
        ({"agent_id": ""}, "missing: agent_id"),
        ({"listen": "127.0.0.1"}, "not address:port"),
        ({"listen": "127.0.0.1:70000"}, "not address:port"),
        ({"heartbeat_interval": "0"}, "1 to 3600"),
        ({"log_level": "LOUD"}, "DEBUG"),
        ({"server": "http://127.0.0.1"}, "https://"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], problem: str
) -> None:
    assert main(["--check-config", written(tmp_path, **changes)]) == 1
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(("version", "accepted"), [("1.4.2", 0), ("1.5.0", 1), ("1.10.0", 1)])
def test_a_fault_asked_of_a_host_takes_hold_from_its_version_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, accepted: int
) -> None:
    monkeypatch.setattr(agent_config, "VERSION", version)
    path = written(tmp_path, lab_fault="config-rejected", lab_fault_from="1.5.0")
    assert main(["--check-config", path]) == accepted


def test_a_fault_built_in_is_there_whatever_the_host_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_config, "VARIANT", "config-rejected")
    assert main(["--check-config", written(tmp_path)]) == 1


@pytest.mark.parametrize("words", [[], ["run"], ["--help"], ["--version", "x"]])
def test_other_command_lines_are_answered_with_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "usage" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", str(tmp_path / "none")]) == 1
    assert "none" in capsys.readouterr().err


def test_the_configuration_that_the_lab_writes_is_accepted(tmp_path: Path) -> None:
    spec = new_spec(2, "1.4.2", "1.5.0")
    path = tmp_path / "agent.yaml"
    path.write_text(config_text(LabPaths(tmp_path), spec, spec.hosts[1]))
    assert agent_config.read_config(str(path))["agent_id"] == "h2"
