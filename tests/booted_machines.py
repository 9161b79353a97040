"""Real systemd hosts for the tests of one folder. Needs root: CI has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from upkeep.lab.machines.fleet import MachineFleet, remove_orphans

PARENT = Path("/var/tmp/upkeep-test-machines")


@contextmanager
def booted_machines(prefix: str, count: int) -> Iterator[MachineFleet]:
    """`count` machines of their own; sets whose test run was killed are removed first."""
    if os.geteuid() != 0:
        pytest.skip("booting real systemd hosts needs root")
    remove_orphans(PARENT)
    name = f"{prefix}{os.getpid()}"
    with MachineFleet(name, PARENT / name) as fleet:
        fleet.up(count)
        yield fleet
