"""One running lab host: its services, its SSH side, its door to the network."""

from __future__ import annotations

import asyncio
import signal
import socket

import asyncssh

from upkeep.lab.door import Door, Network
from upkeep.lab.faults import faults_of, other_host_key
from upkeep.lab.layout import UNIT, HostPaths
from upkeep.lab.service import signal_group
from upkeep.lab.spec import HostSpec
from upkeep.lab.ssh_host import SshHost, host_environment
from upkeep.lab.supervisor import Supervisor


class LabHost:
    """One host of the fleet."""

    def __init__(self, spec: HostSpec, paths: HostPaths, client_key: asyncssh.SSHKey, lab_id: str) -> None:
        self.spec, self.paths = spec, paths
        environment = host_environment(root=paths.root, stand_ins=paths.bin, lab_id=lab_id)
        self.supervisor = Supervisor(paths, environment)
        self._client_key, self._environment = client_key, environment
        self._ssh = self._ssh_side()
        self._door = Door(spec.address, spec.ssh_port, self._welcome)

    async def open(self) -> None:
        """Let the network in as the host's faults allow; raises OSError when the address is taken."""
        faults = faults_of(self.paths)
        self._ssh = self._ssh_side()
        network = Network.CLOSED if "unreachable" in faults else Network.FROZEN if "frozen" in faults else Network.OPEN
        self._freeze(stop=network is Network.FROZEN)
        await self._door.set(network)

    async def boot(self, turns: asyncio.Semaphore) -> None:
        """Start the enabled services."""
        await self.supervisor.boot(turns)
        self._freeze(stop=self._door.network is Network.FROZEN)

    async def shut_down(self) -> None:
        """Close the door and stop the services."""
        await self._door.set(Network.CLOSED)
        self._freeze(stop=False)
        await self.supervisor.shut_down()

    async def _welcome(self, connection: socket.socket) -> None:
        await self._ssh.welcome(connection)

    def _ssh_side(self) -> SshHost:
        key = other_host_key(self.paths) if "wrong-host-key" in faults_of(self.paths) else self.paths.host_key
        return SshHost(root=self.paths.root, host_key=key, client_key=self._client_key, environment=self._environment)

    def _freeze(self, *, stop: bool) -> None:
        if self.supervisor.unit_path(UNIT) is not None:
            group = self.supervisor.service(UNIT).main_pid
            signal_group(group, signal.SIGSTOP if stop else signal.SIGCONT)
