"""What can go wrong with a machine, done to it from outside, and undone."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Literal

from upkeep.errors import HostError
from upkeep.lab.machines import network
from upkeep.lab.machines.machine import Machine

_BALLAST, _BALLAST_FOLDER, _PROBE = "ballast", "ballast.d", "probe"
_BLOCK = b"\0" * 4096
_MOST_INODES = 200_000

Way = Literal["both", "incoming", "outgoing"]


def cut(machine: Machine) -> None:
    """Part it from the network: packets vanish in both directions."""
    network.unplug(machine.layout, machine.number)


def pull_cable(machine: Machine) -> None:
    """Part it from the network so that its own side sees it: no carrier."""
    network.take_carrier(machine.layout, machine.number)


def drop(machine: Machine, way: Way = "both", port: int | None = None) -> None:
    """Lose its packets one way or both ways, all of them or only those of one TCP service it offers."""
    incoming, outgoing = way != "outgoing", way != "incoming"
    network.drop(machine.layout, machine.number, incoming=incoming, outgoing=outgoing, port=port)


def freeze(machine: Machine) -> None:
    """Hang it: the kernel still accepts connections, nobody ever answers."""
    machine.cgroup.freeze(frozen=True)


def thaw(machine: Machine) -> None:
    """Let it go on after `freeze`."""
    machine.cgroup.freeze(frozen=False)


def fill(machine: Machine, free_bytes: int = 0) -> None:
    """Fill its disk until only `free_bytes` are left.

    Raises:
        HostError: the machine is off.
    """
    disk = machine.disk_inside()
    ballast = disk / _BALLAST
    ballast.unlink(missing_ok=True)
    left = os.statvfs(disk)
    wanted = left.f_bavail * left.f_frsize - free_bytes
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        if wanted > 0:
            os.posix_fallocate(file.fileno(), 0, wanted)
    if not free_bytes:
        _fill_last_blocks(ballast)


def fill_inodes(machine: Machine) -> None:
    """Use up the inodes of its disk.

    Raises:
        HostError: the machine is off.
    """
    folder = machine.disk_inside() / _BALLAST_FOLDER
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):
        for number in range(_MOST_INODES):
            (folder / str(number)).touch()


def drain(machine: Machine) -> None:
    """Undo `fill` and `fill_inodes`; a machine that is off is drained when it is on again."""
    if machine.supervisor:
        disk = machine.disk_inside()
        (disk / _BALLAST).unlink(missing_ok=True)
        shutil.rmtree(disk / _BALLAST_FOLDER, ignore_errors=True)


def turn_read_only(machine: Machine) -> None:
    """A real ext4 error: the kernel turns the root file system read-only. Like in life, only a power cycle with fsck heals it.

    Raises:
        HostError: the machine is off, or this kernel has no such trigger.
    """
    number = machine.disk_inside().stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name
    trigger = Path("/sys/fs/ext4") / device / "trigger_fs_error"
    try:
        trigger.write_text("injected on purpose")
    except OSError as error:
        raise HostError(machine.name, f"{trigger} cannot be written") from error


def heal(machine: Machine) -> None:
    """Undo every fault; a machine that is off, or whose disk turned read-only, is switched on again."""
    thaw(machine)
    network.plug_in(machine.layout, machine.number)
    if machine.supervisor and _read_only(machine):
        machine.cut_power()
    machine.boot()
    drain(machine)


def _fill_last_blocks(ballast: Path) -> None:
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(_BLOCK)


def _read_only(machine: Machine) -> bool:
    try:
        (machine.disk_inside() / _PROBE).touch()
    except OSError as error:
        return error.errno == errno.EROFS
    return False
