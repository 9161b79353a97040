"""Real systemd hosts with a small agent and a control centre each. Needs root: CI has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.booted_machines import booted_machines
from tests.endurance.machines.centre import NAME
from tests.endurance.machines.controller import Controller
from tests.endurance.machines.site import Host, hosts_of
from upkeep.lab.machines.fleet import MachineFleet

COUNT = 4


@pytest.fixture(scope="session")
def fleet() -> Iterator[MachineFleet]:
    with booted_machines("link", COUNT) as booted:
        yield booted


@pytest.fixture(scope="session")
def hosts(fleet: MachineFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    """Each with the agent online."""
    made = hosts_of(fleet, tmp_path_factory.mktemp("centre"))
    for host in made:
        host.install()
    yield made
    for host in made:
        host.centre.close()


@pytest.fixture
def site(hosts: list[Host], tmp_path: Path) -> Iterator[Controller]:
    """A controller with documents for the hosts, whose agents name their control centres by address."""
    for host in hosts:
        host.server = host.centre.address
        host.install()
    yield Controller(hosts, tmp_path / "site")
    for host in hosts:
        host.server = NAME
        host.install()
