"""Where everything of a lab lies on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

UNIT = "mcp-agent.service"


@dataclass(frozen=True)
class HostPaths:
    """One host's files; `root` stands for `/` of a real host."""

    directory: Path

    @property
    def name(self) -> str:
        """The host's name."""
        return self.directory.name

    @property
    def root(self) -> Path:
        """What `/` is on a real host."""
        return self.directory / "root"

    @property
    def bin(self) -> Path:
        """Stand-ins that come first on the host's PATH."""
        return self.directory / "bin"

    @property
    def journal(self) -> Path:
        """What units printed, one file per unit."""
        return self.directory / "journal"

    @property
    def host_key(self) -> Path:
        """Private SSH host key."""
        return self.directory / "host_key"

    @property
    def faults(self) -> Path:
        """Names of the faults injected into the host."""
        return self.directory / "faults.json"

    @property
    def aside(self) -> Path:
        """Originals of files that a fault changed."""
        return self.directory / "aside"

    @property
    def binary(self) -> Path:
        """The agent's program."""
        return self.root / "usr/local/bin/ms-720-agent"

    @property
    def config(self) -> Path:
        """The agent's configuration."""
        return self.root / "etc/mcp/agent.yaml"

    @property
    def state(self) -> Path:
        """The agent's data."""
        return self.root / "var/lib/mcp"

    @property
    def units(self) -> Path:
        """Unit files of the administrator."""
        return self.root / "etc/systemd/system"

    @property
    def vendor_units(self) -> Path:
        """Unit files of packages."""
        return self.root / "usr/lib/systemd/system"


@dataclass(frozen=True)
class LabPaths:
    """The lab's own files."""

    directory: Path

    @property
    def spec(self) -> Path:
        """What the lab is made of; its presence marks the directory as a lab."""
        return self.directory / "fleet.json"

    @property
    def pid(self) -> Path:
        """Process id of the fleet process."""
        return self.directory / "fleet.pid"

    @property
    def log(self) -> Path:
        """What the fleet process printed."""
        return self.directory / "fleet.log"

    @property
    def events(self) -> Path:
        """What the control centre saw, one JSON object a line."""
        return self.directory / "control-centre.jsonl"

    @property
    def socket(self) -> Path:
        """Unix socket of the fleet process."""
        return self.directory / "control.sock"

    @property
    def keys(self) -> Path:
        """Private keys, mode 0700."""
        return self.directory / "keys"

    @property
    def client_key(self) -> Path:
        """Private SSH key that every host accepts."""
        return self.keys / "client_key"

    @property
    def release_key(self) -> Path:
        """Private key that signs releases."""
        return self.keys / "release.pem"

    @property
    def server_key(self) -> Path:
        """Private key of the control centre."""
        return self.keys / "control-centre.pem"

    @property
    def server_chain(self) -> Path:
        """Certificates of the control centre, leaf first."""
        return self.directory / "control-centre-chain.pem"

    @property
    def authority(self) -> Path:
        """Certificate of the lab's own authority."""
        return self.directory / "ca.pem"

    @property
    def release_public_key(self) -> Path:
        """Public key that releases are checked with."""
        return self.directory / "release-key.pem"

    @property
    def releases(self) -> Path:
        """One folder per release."""
        return self.directory / "releases"

    @property
    def hosts(self) -> Path:
        """One folder per host."""
        return self.directory / "hosts"

    @property
    def inventory(self) -> Path:
        """The fleet, for Upkeep."""
        return self.directory / "inventory.yaml"

    @property
    def plan(self) -> Path:
        """The upgrade, for Upkeep."""
        return self.directory / "plan.yaml"

    @property
    def plan_with_triggers(self) -> Path:
        """The same upgrade watched by the control centre's figures."""
        return self.directory / "plan-with-triggers.yaml"

    @property
    def profile(self) -> Path:
        """The agent profile with what a lab needs."""
        return self.directory / "profile.yaml"

    @property
    def known_hosts(self) -> Path:
        """SSH host keys of the fleet."""
        return self.directory / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`."""
        return self.directory / "ssh_config"

    def host(self, name: str) -> HostPaths:
        """The files of host `name`."""
        return HostPaths(self.hosts / name)


def default_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """`$UPKEEP_HOME/lab`, by default `~/.local/state/upkeep/lab`."""
    home = environ.get("UPKEEP_HOME") or "~/.local/state/upkeep"
    return Path(home).expanduser() / "lab"
