from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.unit.lab.machine import Machine
from upkeep.lab.journal import read_entries
from upkeep.lab.service import Active

SLEEPS = "echo ready; exec sleep 60"


def lines(machine: Machine, unit: str) -> list[str]:
    return [entry.message for entry in read_entries(machine.paths.journal / f"{unit}.service.log")]


def test_a_started_service_is_active_with_its_process_and_stops_cleanly(machine: Machine) -> None:
    machine.unit("web", SLEEPS)

    async def scene() -> None:
        assert (await machine.ctl("start", "web")).exit_code == 0
        shown = await machine.shown("web.service")
        assert (shown["ActiveState"], shown["SubState"], shown["NRestarts"]) == ("active", "running", "0")
        assert os.getpgid(int(shown["MainPID"])) == int(shown["MainPID"])
        assert int(shown["ExecMainStartTimestampMonotonic"]) == pytest.approx(time.monotonic_ns() // 1000, abs=5e6)
        assert (await machine.ctl("stop", "web")).exit_code == 0
        shown = await machine.shown("web.service")
        assert (shown["ActiveState"], shown["Result"], shown["MainPID"]) == ("inactive", "success", "0")

    machine.play(scene)


def test_a_crash_loop_ends_in_start_limit_hit_and_reset_failed_forgives_it(machine: Machine) -> None:
    machine.unit("web", "echo no; exit 3", "Restart=on-failure\nRestartSec=10ms\n[Unit]\nStartLimitBurst=3")

    async def scene() -> None:
        await machine.ctl("start", "web")
        await machine.until("web.service", Active.FAILED)
        shown = await machine.shown("web.service")
        assert (shown["Result"], shown["ExecMainStatus"], shown["MainPID"]) == ("start-limit-hit", "3", "0")
        assert lines(machine, "web").count("no") == 3
        refused = await machine.ctl("start", "web")
        assert refused.exit_code == 1
        assert "too often" in refused.stderr
        await machine.ctl("reset-failed", "web")
        assert (await machine.shown("web.service"))["ActiveState"] == "inactive"
        assert (await machine.ctl("start", "web")).exit_code == 0

    machine.play(scene)


def test_restarts_are_counted_and_the_state_in_between_is_activating(machine: Machine) -> None:
    machine.unit("web", "exit 1", "Restart=on-failure\nRestartSec=300ms")

    async def scene() -> None:
        await machine.ctl("start", "web")
        service = await machine.until("web.service", Active.ACTIVATING)
        assert service.sub_state == "auto-restart"
        assert service.restarts == 0
        await machine.eventually(lambda: service.restarts >= 1)
        assert (await machine.ctl("is-active", "web")).exit_code in {0, 3}

    machine.play(scene)


def test_stopping_while_a_restart_is_due_starts_nothing_more(machine: Machine) -> None:
    machine.unit("web", "exit 1", "Restart=always\nRestartSec=50ms")

    async def scene() -> None:
        await machine.ctl("start", "web")
        await machine.until("web.service", Active.ACTIVATING)
        await machine.ctl("stop", "web")
        count = len(lines(machine, "web"))
        await asyncio.sleep(0.2)
        assert (await machine.shown("web.service"))["ActiveState"] == "inactive"
        assert len(lines(machine, "web")) == count

    machine.play(scene)


def test_a_program_that_cannot_be_run_fails_the_start_of_type_exec(machine: Machine) -> None:
    machine.unit("web", SLEEPS, "Type=exec\nExecStart=/no/such/program")

    async def scene() -> None:
        answer = await machine.ctl("start", "web")
        assert answer.exit_code == 1
        await machine.until("web.service", Active.FAILED)
        shown = await machine.shown("web.service")
        assert (shown["Result"], shown["ExecMainStatus"]) == ("exit-code", "203")

    machine.play(scene)


def test_a_service_that_ignores_sigterm_is_killed_with_its_children(machine: Machine) -> None:
    machine.unit("web", "trap '' TERM; sleep 60 & echo child $!; wait; wait", "TimeoutStopSec=200ms")

    async def scene() -> None:
        await machine.ctl("start", "web")
        await machine.supervisor.service("web.service").said_something.wait()
        child = int(next(line for line in lines(machine, "web") if line.startswith("child")).split()[1])
        await machine.ctl("stop", "web")
        assert (await machine.shown("web.service"))["MainPID"] == "0"
        assert not running(child)

    machine.play(scene)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("restart", "state"), [("on-failure", Active.INACTIVE), ("no", Active.INACTIVE)])
def test_a_service_that_ends_by_itself_without_error_is_inactive(machine: Machine, restart: str, state: Active) -> None:
    machine.unit("web", "exit 0", f"Restart={restart}")

    async def scene() -> None:
        await machine.ctl("start", "web")
        service = await machine.until("web.service", state)
        assert service.result == "success"

    machine.play(scene)


def test_a_very_long_line_and_bytes_that_are_no_text_do_not_stop_the_journal(machine: Machine) -> None:
    machine.unit("web", "head -c 300000 /dev/zero | tr '\\0' x; printf '\\n\\377\\n'; echo end; exec sleep 60")

    async def scene() -> None:
        await machine.ctl("start", "web")
        await machine.eventually(lambda: "end" in lines(machine, "web"))
        assert sum(line.count("x") for line in lines(machine, "web") if line.startswith("x")) == 300000

    machine.play(scene)


def test_two_restarts_at_once_leave_one_process(machine: Machine) -> None:
    machine.unit("web", SLEEPS)

    async def scene() -> None:
        await machine.ctl("start", "web")
        await asyncio.gather(*(machine.ctl("restart", "web") for _ in range(3)))
        shown = await machine.shown("web.service")
        started = [line for line in lines(machine, "web") if "Started" in line]
        assert (shown["ActiveState"], len(started)) == ("active", 4)

    machine.play(scene)
