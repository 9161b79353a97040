"""Names and places of one set of machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NETWORK = "10.77.0"
PREFIX_LENGTH = 24
CONTROL_ADDRESS = f"{NETWORK}.1"
FIRST_ADDRESS = 10
MOST_MACHINES = 200
NAMESPACES = Path("/run/netns")
BRIDGE = "br0"


@dataclass(frozen=True)
class MachinePaths:
    """One machine's files."""

    directory: Path

    @property
    def image(self) -> Path:
        """The machine's own disk, sparse."""
        return self.directory / "disk.img"

    @property
    def disk(self) -> Path:
        """Where the disk is mounted, inside the machine's own mount namespace only."""
        return self.directory / "disk"

    @property
    def root(self) -> Path:
        """Where the root filesystem is put together, inside the machine's own mount namespace only."""
        return self.directory / "root"

    @property
    def seed(self) -> Path:
        """What makes this machine itself: name, machine id, SSH host key. A power cut never loses it."""
        return self.directory / "seed"

    @property
    def supervisor(self) -> Path:
        """Which process supervises the machine while it is on."""
        return self.directory / "supervisor.json"

    @property
    def notify(self) -> Path:
        """Socket on which the machine says that it is up."""
        return self.directory / "notify"

    @property
    def console(self) -> Path:
        """What the machine printed since it was made."""
        return self.directory / "console.log"


@dataclass(frozen=True)
class Layout:
    """One set of machines: `name` tells it from others on this computer, `directory` holds its files."""

    name: str
    directory: Path
    base: Path

    @property
    def control(self) -> str:
        """The network namespace the controller runs in."""
        return f"upkeep-{self.name}"

    @property
    def layer(self) -> Path:
        """What all machines of the set have on top of the base: login, sshd, journal."""
        return self.directory / "layer"

    @property
    def key(self) -> Path:
        """Private key that opens every machine, for `ops` and root."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Every machine's host key."""
        return self.directory / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """For OpenSSH, inside the control namespace."""
        return self.directory / "ssh_config"

    @property
    def facts(self) -> Path:
        """What is needed to find and remove the set later."""
        return self.directory / "machines.json"

    def machine(self, number: int) -> MachinePaths:
        """The files of machine `number`, which counts from 1."""
        return MachinePaths(self.directory / machine_name(number))

    def namespace(self, number: int) -> str:
        """The network namespace of a machine."""
        return f"{self.control}-{machine_name(number)}"


def machine_name(number: int) -> str:
    """A machine's host name: h1, h2 and so on."""
    return f"h{number}"


def address(number: int) -> str:
    """A machine's IPv4 address."""
    return f"{NETWORK}.{FIRST_ADDRESS + number}"


def bridge_port(number: int) -> str:
    """The machine's port on the bridge, in the control namespace."""
    return f"p{number}"


def namespace_path(name: str) -> Path:
    """The file that stands for a network namespace."""
    return NAMESPACES / name
