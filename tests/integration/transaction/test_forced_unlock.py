"""A lock that nobody will give back is taken away by hand, with a reason, and the history says so (issue 6: 1; faults 8, 46)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.force_unlock import force_unlock
from tests.integration.transaction.machine import Machine
from tests.unit.audit.conftest import run_record
from upkeep.audit.history import History
from upkeep.domain.change import RunOutcome
from upkeep.domain.record import Actor
from upkeep.errors import BadInput, HostLocked
from upkeep.process import this_process

ANN = Actor(name="ann")
WHY = "its controller's disk burnt"


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History.open(f"sqlite:///{tmp_path / 'history.db'}")
    yield opened
    opened.close()


def freed(history: History, machine: Machine, reason: str = WHY) -> str:
    return force_unlock(history, machine.change(), "h1", ANN, reason, by="unlock-1")


def told(history: History) -> list[tuple[str, str, str, object]]:
    return [(one.action, one.actor.name, one.reason, one.body.get("run")) for one in history.events("")]


def test_a_host_is_freed_its_old_holder_shut_out_and_both_halves_are_in_the_history(
    history: History, machine: Machine
) -> None:
    old = machine.staged()
    assert "freed; run run-1 of ada" in freed(history, machine)
    assert told(history) == [("host.unlock_asked", "ann", WHY, "run-1"), ("host.unlocked", "ann", WHY, "run-1")]
    assert machine.change().inspect().lock is None
    new = machine.locked(run="run-2")
    assert new.fence > old.fence
    with pytest.raises(HostLocked):
        machine.change().switch(old)


def test_without_a_reason_no_host_is_asked(history: History, machine: Machine) -> None:
    machine.locked()
    with pytest.raises(BadInput, match="needs a reason"):
        freed(history, machine, "  ")
    assert machine.change().inspect().lock is not None
    assert told(history) == []


def test_an_armed_dead_mans_switch_stays_armed(history: History, machine: Machine) -> None:
    machine.switched()
    before = machine.change().inspect().guard
    freed(history, machine)
    assert (machine.change().inspect().guard, machine.running()) == (before, "2.0.0")


def test_a_host_that_nobody_holds_is_left_as_it_is(history: History, machine: Machine) -> None:
    assert freed(history, machine) == "no run holds its lock"
    assert told(history) == []


def test_a_run_that_goes_on_keeps_its_lock_and_one_that_is_over_does_not(history: History, machine: Machine) -> None:
    history.open_run(run_record("run-1", process=this_process()))
    history.vouch("run-1", datetime.now(UTC) + timedelta(minutes=5))
    machine.locked()
    assert "upkeep stop run-1" in freed(history, machine)
    assert machine.change().inspect().lock is not None
    history.close_run("run-1", RunOutcome.FAILED, "")
    assert freed(history, machine).startswith("freed")
