"""The dead-man switch: it puts the host back unless the change is committed in time, and never otherwise."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.transaction.machine import Machine, guards
from upkeep.domain.change import JournalState
from upkeep.errors import HostError

SOON = timedelta(seconds=1)
Until = Callable[[Callable[[], bool]], None]


def state_of(machine: Machine) -> JournalState:
    return machine.change().inspect().journal.state


def fire(machine: Machine, mode: str = "timer") -> str:
    """Run the guard as its timer would; it answers with what it did."""
    env = {**os.environ, "PATH": f"{machine.root}/bin:{os.environ['PATH']}"}
    script = machine.upkeep / "incoming/guard.sh"
    return subprocess.run(
        ["/bin/sh", script, mode], env=env, capture_output=True, text=True, check=False, timeout=60
    ).stdout


def test_without_a_commit_the_host_goes_back_by_itself_and_is_free(machine: Machine, until: Until) -> None:
    order = machine.switched(dead_man=SOON)
    machine.config.write_text("new format")
    until(lambda: state_of(machine) is JournalState.ROLLED_BACK)
    until(lambda: machine.change().inspect().lock is None)
    state = machine.change().inspect()
    assert (state.journal.actor, state.journal.reason) == ("guard", "no commit within 1 s")
    assert (state.guard, state.lock, state.binary.form) == (None, None, "file")
    assert machine.running() == "1.0.0"
    assert machine.config.read_text() == "for=any\nlisten=8080\n"
    with pytest.raises(HostError, match="'rolled-back', by the guard: no commit within 1 s"):
        machine.change().commit(order)
    assert machine.change().roll_back(order, "too late", with_state=False).actor == "guard"
    assert machine.running() == "1.0.0"


def test_after_a_commit_it_never_fires(machine: Machine, until: Until) -> None:
    order = machine.switched()
    guard = machine.change().inspect().guard
    pid = next(line for line in (machine.upkeep / "guard").read_text().splitlines() if line.startswith("pid="))[4:]
    assert guard is not None
    assert len(session_of(pid)) == 2
    machine.change().commit(order)
    until(lambda: not session_of(pid))
    assert "result=idle" in fire(machine)
    assert state_of(machine) is JournalState.COMMITTED
    assert machine.running() == "2.0.0"


def test_it_fires_once(machine: Machine) -> None:
    machine.switched()
    assert "result=ok" in fire(machine)
    calls = (machine.root / "systemd/calls").read_text().count("restart")
    assert "result=idle" in fire(machine)
    assert (machine.root / "systemd/calls").read_text().count("restart") == calls


def test_it_leaves_the_change_of_a_later_run_alone(machine: Machine) -> None:
    order = machine.switched()
    old = (machine.upkeep / "incoming/guard.sh").read_text()
    machine.change().commit(order)
    machine.release("3.0.0")
    machine.switched("3.0.0", run="run-2", from_version="2.0.0", take_over=True)
    (machine.upkeep / "incoming/guard.sh").write_text(old)
    assert "result=idle" in fire(machine)
    state = machine.change().inspect()
    assert (state.journal.run, state.journal.state) == ("run-2", JournalState.SWITCHED)
    assert state.guard is not None
    assert state.guard.armed


def test_at_boot_a_finished_switch_is_left_to_the_timer_and_a_cut_one_undone_at_once(machine: Machine) -> None:
    machine.switched()
    assert "result=idle" in fire(machine, "boot")
    assert state_of(machine) is JournalState.SWITCHED
    set_state(machine, "armed")
    assert "result=ok" in fire(machine, "boot")
    journal = machine.change().inspect().journal
    assert (journal.state, journal.actor) == (JournalState.ROLLED_BACK, "guard")
    assert "restarted in the middle" in journal.reason


def test_it_finishes_a_rollback_that_was_cut(machine: Machine) -> None:
    machine.switched()
    machine.config.write_text("half restored")
    set_state(machine, "rolling-back")
    assert "result=ok" in fire(machine)
    assert state_of(machine) is JournalState.ROLLED_BACK
    assert machine.config.read_text() == "for=any\nlisten=8080\n"
    assert machine.running() == "1.0.0"


def test_it_restores_the_state_when_the_release_changes_it_one_way(machine: Machine) -> None:
    machine.switched(with_state=True)
    machine.state_file.write_text("migrated")
    assert "result=ok" in fire(machine)
    assert machine.state_file.read_text() == "old"


def test_with_its_backup_gone_it_still_brings_the_old_binary_back_and_says_what_it_could_not(machine: Machine) -> None:
    machine.switched()
    (machine.upkeep / "backups/run-1/archive.tar.gz").unlink()
    assert "result=ok" in fire(machine)
    journal = machine.change().inspect().journal
    assert "configuration was not restored" in journal.reason
    assert machine.running() == "1.0.0"


def test_repeating_the_switch_gives_the_whole_time_again_and_leaves_one_guard(machine: Machine) -> None:
    order = machine.switched(dead_man=timedelta(seconds=2))
    machine.change().switch(replace(order, dead_man=timedelta(minutes=5)))
    state = machine.change().inspect()
    assert state.guard is not None
    assert state.guard.deadline - state.now > 200
    assert len(guards(machine)) == 1


def test_a_guard_left_by_a_switch_that_was_cut_gives_way_to_the_one_armed_later(machine: Machine, until: Until) -> None:
    order = machine.switched(dead_man=timedelta(seconds=2))
    first = guards(machine)
    (machine.upkeep / "guard").unlink()
    machine.change().switch(replace(order, dead_man=timedelta(minutes=5)))
    assert set(guards(machine)) - set(first)
    until(lambda: first[0] not in guards(machine))
    assert state_of(machine) is JournalState.SWITCHED
    assert len(guards(machine)) == 1


def session_of(leader: str) -> list[str]:
    """Living processes of the session that a process leads: the guard and the sleep it waits in."""
    living = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[3] == leader and fields[0] != "Z":
            living.append(process.name)
    return living


def set_state(machine: Machine, state: str) -> None:
    """Write the journal as a script that was cut would have left it."""
    journal = machine.upkeep / "journal"
    lines = [f"state={state}" if line.startswith("state=") else line for line in journal.read_text().splitlines()[:-1]]
    text = "\n".join(lines) + "\n"
    journal.write_text(f"{text}sum={hashlib.sha256(text.encode()).hexdigest()}\n")
