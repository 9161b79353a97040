"""Four real systemd hosts for the torture of the host transaction (needs root), and a Prefect worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.booted_machines import booted_machines
from tests.integration.transaction.conftest import machine, until  # noqa: F401 - fixtures of the host in a folder
from tests.torture.host import Host, hosts_of
from tests.torture.worker import Worked, working
from upkeep.lab.machines import faults
from upkeep.lab.machines.fleet import MachineFleet

HOSTS = 4


@pytest.fixture(scope="session")
def machines() -> Iterator[MachineFleet]:
    with booted_machines("tort", HOSTS) as fleet:
        yield fleet


@pytest.fixture
def hosts(machines: MachineFleet) -> Iterator[list[Host]]:
    """All hosts, healed, with the old version, whatever a test before did."""
    found = hosts_of(machines)
    machines.each(faults.heal)
    with_each(found, Host.install)
    yield found
    with_each(found, Host.hang_up)


@pytest.fixture
def host(machines: MachineFleet) -> Iterator[Host]:
    """One host, healed, with the old version."""
    found = hosts_of(machines)[0]
    faults.heal(found.machine)
    found.install()
    yield found
    found.hang_up()


@pytest.fixture
def worked(tmp_path: Path, prefect_server: dict[str, str]) -> Iterator[Worked]:
    """A Prefect worker with our runbook `maintenance`."""
    log = tmp_path / "worker.log"
    with working(tmp_path, prefect_server, log=log) as worker:
        yield worker
    sys.stdout.write(log.read_text()[-4000:])


def with_each(hosts: list[Host], action) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(action, hosts))
