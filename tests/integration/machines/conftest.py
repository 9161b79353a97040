"""Three real systemd hosts for all tests of this folder. Needs root: CI has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.booted_machines import booted_machines
from upkeep.lab.machines import faults
from upkeep.lab.machines.fleet import MachineFleet


@pytest.fixture(scope="session")
def booted() -> Iterator[MachineFleet]:
    with booted_machines("it", 3) as fleet:
        yield fleet


@pytest.fixture
def fleet(booted: MachineFleet) -> Iterator[MachineFleet]:
    """The three hosts, healed after each test."""
    yield booted
    booted.each(faults.heal)
