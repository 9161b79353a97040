"""Three real systemd hosts for all tests of this folder. Needs root: CI has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from upkeep.lab.machines import faults
from upkeep.lab.machines.fleet import MachineFleet, remove_orphans

PARENT = Path("/var/tmp/upkeep-test-machines")


@pytest.fixture(scope="session")
def booted() -> Iterator[MachineFleet]:
    if os.geteuid() != 0:
        pytest.skip("booting real systemd hosts needs root")
    remove_orphans(PARENT)
    name = f"it{os.getpid()}"
    with MachineFleet(name, PARENT / name) as fleet:
        fleet.up(3)
        yield fleet


@pytest.fixture
def fleet(booted: MachineFleet) -> Iterator[MachineFleet]:
    """The three hosts, healed after each test."""
    yield booted
    booted.each(faults.heal)
