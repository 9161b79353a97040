from __future__ import annotations

from pathlib import Path

import pytest

from upkeep.errors import BadInput
from upkeep.lab.host_files import unit_text
from upkeep.lab.layout import HostPaths
from upkeep.lab.unit_file import environment_of, parse_keys, read_unit, seconds

UNIT = """
[Unit]
Description=An agent
StartLimitBurst=3
StartLimitIntervalSec=1min 30s
[Service]
; a comment
ExecStart=-/bin/agent run \\
    --name "two words"
Restart=on-failure
RestartSec=500ms
Environment=A=1 "B=two words"
Environment=A=3
[Install]
WantedBy=multi-user.target
"""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("500ms", 0.5), ("5", 5), ("1min 30s", 90), ("2h", 7200), ("1.5s", 1.5), ("infinity", float("inf"))],
)
def test_time_spans_are_read_as_systemd_reads_them(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["soon", "5 parsecs", "-1s"])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time span"):
        seconds(text)


def test_a_unit_file_is_read_with_continuation_prefix_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "agent.service"
    path.write_text(UNIT)
    unit = read_unit(path)
    assert unit.exec_start == ("/bin/agent", "run", "--name", "two words")
    assert (unit.restart, unit.restart_sec, unit.limit_burst, unit.limit_interval) == ("on-failure", 0.5, 3, 90)
    assert unit.environment == {"A": "3", "B": "two words"}
    assert unit.wanted_by == ("multi-user.target",)


def test_an_empty_value_forgets_the_earlier_ones() -> None:
    assert parse_keys("[Service]\nExecStart=/old\nExecStart=\nExecStart=/new\n") == {"Service.ExecStart": ["/new"]}


@pytest.mark.parametrize(
    ("text", "problem"), [("[Service]\n", "ExecStart"), ("[Service]\nExecStart=/bin/x\nRestartSec=soon\n", "soon")]
)
def test_a_unit_that_cannot_be_used_is_named_with_its_problem(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "bad.service"
    path.write_text(text)
    with pytest.raises(BadInput, match=problem) as caught:
        read_unit(path)
    assert str(path) in str(caught.value)


def test_environment_files_win_over_the_unit_and_may_be_optional(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nA='9'\nC=3\n")
    path = tmp_path / "agent.service"
    path.write_text(f"{UNIT}\n[Service]\nEnvironmentFile={tmp_path}/env\nEnvironmentFile=-{tmp_path}/none\n")
    assert environment_of(read_unit(path)) == {"A": "9", "B": "two words", "C": "3"}
    path.write_text(f"{UNIT}\n[Service]\nEnvironmentFile={tmp_path}/none\n")
    with pytest.raises(FileNotFoundError):
        environment_of(read_unit(path))


def test_the_labs_own_unit_can_be_read_in_whatever_folder_the_lab_lies(tmp_path: Path) -> None:
    files = HostPaths(tmp_path / 'somebody\'s "own" \\ folder' / "h1")
    path = tmp_path / "mcp-agent.service"
    path.write_text(unit_text(files))
    unit = read_unit(path)
    assert unit.exec_start == (str(files.binary), "run", "--config", str(files.config))
    assert (unit.restart, unit.working_directory) == ("on-failure", str(files.state))
