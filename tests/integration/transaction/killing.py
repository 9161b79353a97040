"""Kills a step of the transaction at its Nth operation, and what must hold on the host then: the old or the new version, whole."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tests.integration.transaction.machine import Machine
from upkeep.domain.change import JournalState
from upkeep.errors import HostError

CONFIG = "for=any\nlisten=8080\n"
OPERATIONS = ("mv", "sync", "ln", "rm", "cp", "setsid")


Points = Iterable[int]


class Killer:
    """Programs that kill the script's whole process group at the Nth call, before they do anything."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._at, self._count = folder, folder / "at", folder / "count"
        folder.mkdir()
        for name in OPERATIONS:
            program = folder / name
            program.write_text(
                f'#!/bin/sh\nread -r at <"{self._at}" && read -r n <"{self._count}" && echo $((n + 1)) >"{self._count}"\n'
                f'[ "${{at:-0}}" != "$((${{n:-0}} + 1))" ] || kill -KILL 0\nexec {shutil.which(name)} "$@"\n'
            )
            program.chmod(0o755)

    def at(self, number: int) -> None:
        """Kill at this call, counted from now; 0: never."""
        self._count.write_text("0\n")
        self._at.write_text(f"{number}\n")

    def off(self) -> bool:
        """Let everything through from now on; returns whether it had killed."""
        killed = int(self._count.read_text()) >= int(self._at.read_text())
        self.at(0)
        return killed


def killed_at(
    numbers: Points, machine: Machine, killer: Killer, *, prepare: Callable, step: Callable, settle: Callable
) -> int:
    """Prepare, kill the step at its Nth operation, settle; until the step gets through. Returns the number at which it did."""
    for number in numbers:
        order = prepare(number)
        killer.at(number)
        with suppress(HostError):
            step(machine.change(killer.folder), order)
        killed = killer.off()
        assert whole(machine), f"after a kill at operation {number}"
        settle(order, number)
        if not killed:
            return number
    raise AssertionError


def whole(machine: Machine) -> bool:
    """The binary's path leads to a complete old or new version."""
    text = machine.binary.read_text()
    return text.endswith("exec sleep 3000\n") and ("# agent 1.0.0" in text or "# agent 2.0.0" in text)


def is_old(machine: Machine) -> bool:
    return not machine.binary.is_symlink() and machine.running() == "1.0.0" and machine.config.read_text() == CONFIG


def back_again(machine: Machine, order) -> None:
    """The host is as before the change, whatever happened to it."""
    machine.change().roll_back(order, "after the kill", with_state=False)
    assert is_old(machine)
    state = machine.change().inspect()
    assert (state.journal.state, state.guard) == (JournalState.ROLLED_BACK, None)
    assert list(machine.root.rglob("*.upkeep-new")) == []


def anew(machine: Machine) -> None:
    """No release is on the host, as at its first upgrade: the old binary has to be kept aside."""
    shutil.rmtree(Path(machine.profile.paths.releases), ignore_errors=True)


def in_the_switch(
    points: Points, machine: Machine, killer: Killer, until: Callable[[Callable[[], bool]], None]
) -> None:
    def prepare(number: int):
        anew(machine)
        return machine.staged(dead_man=timedelta(seconds=2) if number % 3 == 1 else timedelta(minutes=5))

    def settle(order, number: int) -> None:
        machine.config.write_text("the new version wrote this") if machine.running() == "2.0.0" else None
        if number % 3 == 0:
            machine.change().switch(order)
            assert machine.running() == "2.0.0"
        elif number % 3 == 1 and machine.change().inspect().guard is not None:
            until(lambda: machine.change().inspect().journal.state in {JournalState.ROLLED_BACK, JournalState.STAGED})
            order = machine.locked()
        back_again(machine, order)

    count = killed_at(
        points,
        machine,
        killer,
        prepare=prepare,
        step=lambda change, order: change.switch(order),
        settle=settle,
    )
    assert count > 15


def in_a_rollback(points: Points, machine: Machine, killer: Killer) -> None:
    def prepare(_: int):
        order = machine.switched()
        machine.config.write_text("new format")
        (machine.config.parent / "made").write_text("new")
        return order

    count = killed_at(
        points,
        machine,
        killer,
        prepare=prepare,
        step=lambda change, order: change.roll_back(order, "back", with_state=False),
        settle=lambda order, number: back_again(machine, order),
    )
    assert count > 15


def in_a_commit(points: Points, machine: Machine, killer: Killer) -> None:
    def settle(order, number: int) -> None:
        state = machine.change().inspect()
        assert state.journal.state is JournalState.COMMITTED or (state.guard is not None and state.guard.armed)
        assert machine.change().commit(order).state is JournalState.COMMITTED
        assert machine.change().inspect().guard is None
        assert machine.running() == "2.0.0"
        back_again(machine, order)

    count = killed_at(
        points,
        machine,
        killer,
        prepare=lambda _: machine.switched(),
        step=lambda change, order: change.commit(order),
        settle=settle,
    )
    assert count > 5


def before_the_switch(points: Points, machine: Machine, killer: Killer) -> None:
    machine.locked()
    runs = iter(range(1, 1000))

    def everything(change, order) -> None:
        order = replace(order, fence=change.take_lock(order, take_over=True))
        change.back_up(order, lambda piece: None)
        change.deliver(order, [machine.archives["2.0.0"]], offset=0)
        change.stage(order)

    def settle(order, number: int) -> None:
        assert is_old(machine)
        everything(machine.change(), order)
        assert machine.change().inspect().journal.state is JournalState.STAGED

    def prepare(_: int):
        anew(machine)
        return machine.order(run=f"run-{next(runs)}")

    assert killed_at(points, machine, killer, prepare=prepare, step=everything, settle=settle) > 20
    assert hashlib.sha256(machine.config.read_bytes()).hexdigest() == hashlib.sha256(CONFIG.encode()).hexdigest()
