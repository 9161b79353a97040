"""Repairs on a host: done whole or not at all, under the run's lock, safe to repeat, taken back as it was (issue 7: 3; C6 D7)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.integration.transaction.machine import CONFIG, Machine
from upkeep.domain.profile import FileRule
from upkeep.domain.repairs import Repairs, raised_line, with_certificates, with_value
from upkeep.errors import CommandFailed, HostLocked, UpkeepError
from upkeep.hosts.host_repair import HostRepair, functions
from upkeep.hosts.local import LocalTransport

QUICK = Repairs.model_validate({"backoff": "1s", "steady": "1s", "attempts": 2})


def repairing(machine: Machine, *, fence: int | None = None) -> HostRepair:
    path = f"{machine.root / 'bin'}:{os.environ['PATH']}"
    transport = LocalTransport("h1", env={"PATH": path})
    taken = machine.locked().fence if fence is None else fence
    return HostRepair(transport, machine.profile, "run-1", taken, become=False)


def test_a_stopped_agent_is_started_and_stays_one_process(machine: Machine) -> None:
    machine.systemctl("stop", "agent.service")
    assert repairing(machine).service("start", QUICK) == "agent.service started at attempt 1"
    assert machine.running() == "1.0.0"


def test_an_agent_that_comes_up_at_the_second_start_is_restarted_after_a_pause(machine: Machine) -> None:
    once = machine.root / "once"
    text = machine.binary.read_text().replace(
        "\necho 1.0.0 >", f'\n[ -e "{once}" ] || {{ : >"{once}"; exit 1; }}\necho 1.0.0 >'
    )
    machine.systemctl("stop", "agent.service")
    machine.binary.write_text(text)
    assert repairing(machine).service("restart", QUICK) == "agent.service restarted at attempt 2"
    assert machine.running() == "1.0.0"


def test_an_agent_that_never_comes_up_is_given_up_with_what_systemd_says(machine: Machine) -> None:
    machine.systemctl("stop", "agent.service")
    machine.binary.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(UpkeepError, match="does not stay up after 2 attempts"):
        repairing(machine).service("restart", QUICK)


def test_modes_are_put_back_and_can_be_taken_back(machine: Machine) -> None:
    key = machine.root / "etc/agent-keys/key.pem"
    key.chmod(0o666)
    machine.config.chmod(0o600)
    rules = [FileRule(path=str(key), mode="0600"), FileRule(path=str(machine.config), mode="0640")]
    repair = repairing(machine)
    assert repair.rights(rules) == "mode or owner of 2 files put back"
    assert [path.stat().st_mode & 0o777 for path in (key, machine.config)] == [0o600, 0o640]
    assert repair.rights(rules) == "mode or owner of 0 files put back"
    assert repair.undo() == "2 files put back as they were"
    assert [path.stat().st_mode & 0o777 for path in (key, machine.config)] == [0o666, 0o600]


def test_a_file_is_written_anew_keeps_its_mode_and_comes_back_as_it_was(machine: Machine) -> None:
    repair = repairing(machine)
    new = machine.config.with_name("new.conf")
    wanted = "for=any\nlisten='80 80'\n$HOME `x` \\ no line end"
    assert "written anew" in repair.file(str(machine.config), wanted, None)
    assert machine.config.read_text() == wanted
    assert machine.config.stat().st_mode & 0o777 == 0o640
    assert "already" in repair.file(str(machine.config), wanted, None)
    repair.file(str(machine.config), "third\n", "0600")
    repair.file(str(new), "made\n", None)
    assert (new.read_text(), new.stat().st_mode & 0o777) == ("made\n", 0o644)
    assert repair.read(str(machine.config)) == "third\n"
    repair.undo()
    assert machine.config.read_text() == CONFIG
    assert machine.config.stat().st_mode & 0o777 == 0o640
    assert not new.exists()
    assert repair.undo() == "0 files put back as they were"


def test_a_run_that_does_not_hold_the_host_repairs_nothing(machine: Machine) -> None:
    fence = machine.locked().fence
    machine.locked(run="run-2", take_over=True)
    with pytest.raises(HostLocked):
        repairing(machine, fence=fence).file(str(machine.config), "x", None)
    assert machine.config.read_text() == CONFIG


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match="nowhere cannot be read"):
        repairing(machine).read(str(machine.root / "nowhere"))


def block(text: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"


def test_a_chain_is_completed_by_what_is_missing_and_by_nothing_twice() -> None:
    root, middle = block("cm9vdA=="), block("bWlk\nZGxl")
    assert with_certificates(f"{root}\n", f"{root}\n{middle}\n") == f"{root}\n{middle}\n"
    whole = f"{root}\n{block('bWlkZGxl')}\n"
    assert with_certificates(whole, middle) == whole
    assert with_certificates("", middle) == f"{middle}\n"


def test_a_figure_is_set_where_the_pattern_finds_it_and_nowhere_else() -> None:
    text = "timeout: 30\nheartbeat_interval: 300\n"
    assert with_value(text, r"^heartbeat_interval:\s*(\d+)", "30") == "timeout: 30\nheartbeat_interval: 30\n"
    assert with_value(text, r"^interval:\s*(\d+)", "30") is None


LINES = ("listen=8080", "listen=8081")


def test_a_raised_level_is_put_back_when_asked_and_other_edits_stay(machine: Machine) -> None:
    repair = repairing(machine)
    assert "raised" in repair.raise_level(str(machine.config), LINES, "", timedelta(minutes=5))
    assert machine.config.read_text() == CONFIG.replace(*LINES)
    assert machine.running() == "1.0.0"
    machine.config.write_text(machine.config.read_text() + "more=1\n")
    assert repair.put_level_back("") == "the log level is as it was"
    assert machine.config.read_text() == CONFIG + "more=1\n"
    assert not (machine.upkeep / "level").exists()
    assert repair.put_level_back("") == "the log level is as it was", "safe to repeat"


def test_a_raised_level_is_put_back_by_the_host_when_nobody_comes(
    machine: Machine, until: Callable[[Callable[[], bool]], None]
) -> None:
    repairing(machine).raise_level(str(machine.config), LINES, "", timedelta(seconds=1))
    until(lambda: machine.config.read_text() == CONFIG and not (machine.upkeep / "level").exists())
    until(lambda: machine.running() == "1.0.0")


def test_the_line_that_holds_the_level_is_found_and_only_if_it_is_another() -> None:
    text = "server: x\nlog_level: INFO\n"
    assert raised_line(text, r"^log_level:\s*(\w+)", "DEBUG") == ("log_level: INFO", "log_level: DEBUG")
    assert raised_line(text, r"^log_level:\s*(\w+)", "INFO") is None
    assert raised_line("server: x\n", r"^log_level:\s*(\w+)", "DEBUG") is None


@pytest.mark.parametrize("about", ["repair", "level"])
@pytest.mark.parametrize("shell", [["dash", "-n"], ["busybox", "ash", "-n"], ["bash", "--posix", "-n"]])
def test_every_small_shell_can_read_a_repair(shell: list[str], about: str) -> None:
    read = subprocess.run(shell, input=functions(about), capture_output=True, text=True, check=False)
    assert (read.stderr, read.returncode) == ("", 0)
