"""Stops a script on a real host right before its Nth operation, so that a test can strike at exactly that moment.

Programs in /usr/local/sbin stand before the real ones. They count while /run/torture is there, which no power cut survives.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from upkeep.lab.machines.machine import Machine

OPERATIONS = ("mv", "sync", "ln", "rm", "cp", "mkdir", "tar", "truncate", "dd", "systemctl")

_SHIM = """#!/bin/sh
if [ -e /run/torture/at ]; then
    read -r at </run/torture/at
    read -r n </run/torture/count
    n=$((n + 1))
    echo $n >/run/torture/count
    echo "@NAME@ $*" >>/run/torture/log
    if [ "$at" = $n ]; then
        echo "@NAME@ $*" | tr '\\n' ' ' >/run/torture/door
        read -r go </run/torture/go
    fi
fi
exec @REAL@ "$@"
"""
_ARM = (
    "rm -rf /run/torture; mkdir /run/torture; cd /run/torture; mkfifo door go; : >log; echo 0 >count; echo {number} >at"
)
_FIRST_ANSWER_SECONDS = 120.0
_KNOCKS, _KNOCK_SECONDS = 40, 0.05


def install(machine: Machine) -> None:
    """Put the programs in place; they let everything through."""
    for name in OPERATIONS:
        real = machine.sh(f"PATH=/usr/sbin:/usr/bin:/sbin:/bin; command -v {name}").strip()
        text = _SHIM.replace("@NAME@", name).replace("@REAL@", real)
        machine.sh(f"cat >/usr/local/sbin/{name}; chmod 755 /usr/local/sbin/{name}", stdin=text.encode())
    machine.sh("/bin/sync")


class Trap:
    """One trap on one host."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def log(self, step: Callable[[], object]) -> list[str]:
        """Every operation of a step, in order; nothing is stopped."""
        with self._set(0):
            step()
            return self._machine.sh("cat /run/torture/log").splitlines()

    def spring(self, number: int, step: Callable[[], object], strike: Callable[[str], None]) -> bool:
        """Run a step in a thread; right before its operation `number`, `strike`. Returns whether it came so far.

        What the step raises is kept for `strike`'s owner in `raised`; the step has ended when this returns.
        """
        self.raised: BaseException | None = None
        with self._set(number), self._door() as door:
            ended, said = os.pipe()
            worker = threading.Thread(target=self._work, args=(step, said), name="trapped step", daemon=True)
            worker.start()
            try:
                ready = select.select((door, ended), (), (), _FIRST_ANSWER_SECONDS)[0]
                assert ready, f"operation {number} neither came nor did the step end"
                reached = door in ready
                if reached:
                    strike(os.read(door, 4096).decode("utf-8", "replace").strip())
            finally:
                worker.join(_FIRST_ANSWER_SECONDS)
            assert not worker.is_alive(), f"the step struck at operation {number} never ended"
            os.close(ended)
            return reached

    def let_go(self) -> None:
        """The operation that was stopped goes on, unless the script's own limit has ended it meanwhile."""
        for _ in range(_KNOCKS):
            with suppress(OSError):  # nobody reads there, or not yet
                knock = os.open(self._folder() / "go", os.O_WRONLY | os.O_NONBLOCK)
                os.write(knock, b"go\n")
                os.close(knock)
                return
            sleep(_KNOCK_SECONDS)

    def await_end(self) -> None:
        """Wait until no script of Upkeep's runs on the host any more."""
        self._machine.sh("while pgrep -f '[u]pkeep-begins' >/dev/null; do sleep 0.05; done")

    def kill(self) -> None:
        """Kill the script and the operation that was stopped."""
        self._machine.sh("pkill -KILL -f '[u]pkeep-begins' || true; pkill -KILL -f '/usr/local/[s]bin/' || true")

    def _work(self, step: Callable[[], object], said: int) -> None:
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            self.raised = error
        finally:
            os.close(said)

    @contextmanager
    def _set(self, number: int):
        self._machine.sh(_ARM.format(number=number))
        try:
            yield
        finally:
            if self._machine.supervisor:
                self._machine.sh("/bin/rm -rf /run/torture")

    @contextmanager
    def _door(self):
        door = os.open(self._folder() / "door", os.O_RDONLY | os.O_NONBLOCK)
        try:
            yield door
        finally:
            os.close(door)

    def _folder(self) -> Path:
        return Path(f"/proc/{self._machine.leader}/root/run/torture")
