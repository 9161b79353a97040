"""What a lab is made of: its hosts, addresses and ports, written down once so that it comes up the same again."""

from __future__ import annotations

import secrets
import socket
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pydantic import Field

from upkeep.domain.document import Document
from upkeep.errors import ServiceError

USER = "lab"
ZONES = ("a", "b", "c")
LOOPBACK = "127.0.0.1"
FIRST_PORT, LAST_PORT = 20000, 31999
ATTEMPTS = 50
MOST_HOSTS = 200
HOSTS_PER_HEARTBEAT_SECOND = 10


class HostSpec(Document):
    """One host of the lab."""

    name: str
    address: str
    ssh_port: int
    agent_port: int
    zone: str


class LabSpec(Document):
    """The whole lab."""

    id: str = Field(description="Marks every process of this lab, in the environment variable UPKEEP_LAB")
    hosts: tuple[HostSpec, ...]
    control_centre_port: int
    figures_port: int
    version: str
    target_version: str

    @property
    def control_centre(self) -> str:
        """The control centre's address."""
        return f"https://{LOOPBACK}:{self.control_centre_port}"

    @property
    def heartbeat_seconds(self) -> int:
        """Interval of heartbeats, longer where there are many hosts."""
        return max(5, len(self.hosts) // HOSTS_PER_HEARTBEAT_SECOND)


def new_spec(hosts: int, version: str, target_version: str) -> LabSpec:
    """A spec with addresses and ports that are free now.

    Every host has its own loopback address, 127.77.0.N; where that cannot be had, its own ports on 127.0.0.1.

    Raises:
        ServiceError: no free ports were found.
    """
    addresses = [f"127.77.{number // 250}.{number % 250 + 1}" for number in range(hosts)]
    own_addresses = _binds(addresses[0], 0)
    if own_addresses:
        ssh, agent = (free_ports(addresses, [0])[0] for _ in range(2))
        doors = [(address, ssh, agent) for address in addresses]
    else:
        ports = free_ports([LOOPBACK], range(2 * hosts))
        doors = [(LOOPBACK, ports[2 * n], ports[2 * n + 1]) for n in range(hosts)]
    centre = free_ports([LOOPBACK], range(2))
    return LabSpec(
        id=uuid.uuid4().hex,
        hosts=tuple(
            HostSpec(name=f"h{n}", address=address, ssh_port=ssh, agent_port=agent, zone=ZONES[(n - 1) % len(ZONES)])
            for n, (address, ssh, agent) in enumerate(doors, 1)
        ),
        control_centre_port=centre[0],
        figures_port=centre[1],
        version=version,
        target_version=target_version,
    )


def free_ports(addresses: Sequence[str], offsets: Sequence[int]) -> list[int]:
    """A run of ports, one per offset, that nobody uses on any of the addresses.

    Raises:
        ServiceError: no such ports were found.
    """
    for _ in range(ATTEMPTS):
        first = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT - len(offsets))
        if all(_binds(address, first + offset) for address in addresses for offset in offsets):
            return [first + offset for offset in offsets]
    message = f"no free ports from {FIRST_PORT} to {LAST_PORT} on {addresses[0]} …"
    raise ServiceError(message)


def read_spec(path: Path) -> LabSpec | None:
    """The lab that is written down there, if there is one."""
    return LabSpec.model_validate_json(path.read_bytes()) if path.exists() else None


def _binds(address: str, port: int) -> bool:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except OSError:
            return False
    return True
