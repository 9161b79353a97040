"""Settings turned into objects, in this one place."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from upkeep import __version__
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.copies import Copies
from upkeep.audit.deliveries import Deliveries
from upkeep.audit.history import History
from upkeep.audit.outbox import Outbox
from upkeep.audit.people import People
from upkeep.audit.signing import KeyFolder
from upkeep.console.log import WANTED, log_as_json
from upkeep.documents import resolve
from upkeep.domain.delivery import Delivery, listen_address
from upkeep.domain.inventory import Host
from upkeep.domain.profile import AgentProfile
from upkeep.domain.record import Event
from upkeep.errors import BadInput
from upkeep.hosts.host_change import HostChange
from upkeep.hosts.ssh import SshTransport
from upkeep.hosts.ssh_target import SshTarget, check_reach
from upkeep.hosts.transport import Transport
from upkeep.services.control_centre import ControlCentreClient
from upkeep.services.kept_binaries import KeptBinaries
from upkeep.services.relay import Relay
from upkeep.services.sealing import BackupKeys
from upkeep.services.tickets import Sources
from upkeep.settings import Settings

TRACES_TO = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Site:
    """This controller: its settings, its history, and how it reaches hosts."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] = os.environ, *, seals: bool = True) -> None:
        """`seals`: False for a process that works for a run of another one, which seals what both wrote."""
        self.settings = settings
        self._seals = seals
        self._environ = environ
        self._early: dict[SshTarget, SshTransport] = {}
        self._log = log_as_json() if environ.get(WANTED) == "json" else None

    @property
    def history(self) -> History:
        """The history, opened and migrated at first use; runs that end are sealed by a checkpoint, and one is made every hour."""
        return self._sealed[0] if self._seals else self._unsealed

    @functools.cached_property
    def _unsealed(self) -> History:
        return self._listened(History.open(self.settings.database_url))

    @property
    def checkpoints(self) -> Checkpoints:
        """The history's checkpoints."""
        return self._sealed[1]

    @functools.cached_property
    def outbox(self) -> Outbox:
        """What is to be sent to other systems, kept beside the history."""
        return Outbox(self.history)

    @functools.cached_property
    def deliveries(self) -> Deliveries:
        """What ticket systems sent, kept beside the history."""
        return Deliveries(self.history)

    @functools.cached_property
    def tickets(self) -> Sources | None:
        """The ticket systems; None where none are configured.

        Raises:
            BadInput: tickets.yaml cannot be used.
        """
        sources = Sources.read(self.settings.tickets, self._environ)
        for secret in sources.every_secret() if sources else ():
            self.history.mask(secret)
        return sources

    @functools.cached_property
    def people(self) -> People:
        """Who may sign in, approve and administer."""
        return People(self.history)

    @functools.cached_property
    def _sealed(self) -> tuple[History, Checkpoints]:
        if self.settings.database_url.startswith("sqlite:///"):
            self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        history = self._listened(History.open(self.settings.database_url))
        if self._environ.get(TRACES_TO):
            history.listeners.append(_traces())
        checkpoints = history.seal(KeyFolder(self.settings.keys), Copies(self.settings.checkpoints))
        checkpoints.every()
        return history, checkpoints

    def _listened(self, history: History) -> History:
        if self._log:
            history.listeners.append(self._log)
        return history

    def targets(self, hosts: tuple[Host, ...], inventory: Mapping[str, Host]) -> dict[str, SshTarget]:
        """How to reach each host, after everything that can be known without touching one has been looked at.

        Raises:
            BadInput: a key file, variable or jump host cannot be used.
        """
        config = self.settings.ssh_config if self.settings.ssh_config.exists() else None
        targets = check_reach(hosts, inventory, ssh_config=config, environ=self._environ)
        for target in targets.values():
            for hop in (*target.jump, target):
                if hop.sudo_password is not None:
                    self.history.mask(hop.sudo_password.get_secret_value())
        return targets

    def connect_early(self, targets: Iterable[SshTarget]) -> None:
        """Begin to connect to hosts whose first scripts are about to come; `transport` hands these connections out."""
        for target in targets:
            self._early[target] = SshTransport(target)
            threading.Thread(target=self._early[target].connect, name=f"early {target.name}", daemon=True).start()

    def transport(self, target: SshTarget) -> Transport:
        """A connection to one host, opened at its first script or before."""
        return self._early.pop(target, None) or SshTransport(target)

    def change(self, transport: Transport, profile: AgentProfile) -> HostChange:
        """The transaction on one host."""
        return HostChange(transport, profile, become=True)

    def centre(self, profile: AgentProfile) -> ControlCentreClient | None:
        """The control centre of a filled profile, if it names one."""
        if profile.control_centre is None:
            return None
        client = ControlCentreClient.of(profile.control_centre, self._environ)
        if client.token is not None:
            self.history.mask(client.token.get_secret_value())
        return client

    def profile_for(self, profile: AgentProfile, host: Host) -> AgentProfile:
        """The profile filled for one host."""
        return resolve(profile, host)

    @functools.cached_property
    def backup_keys(self) -> BackupKeys:
        """What seals and opens this controller's backups."""
        return BackupKeys(self.settings.backup_keys)

    @functools.cached_property
    def kept_binaries(self) -> KeptBinaries:
        """Old binaries that backups name by their SHA-256."""
        return KeptBinaries(self.settings.backups / "binaries")

    def backups_of(self, run: str) -> Path:
        """Where a run's backups lie on this controller."""
        return self.settings.backups / run

    def relay_address(self, delivery: Delivery) -> str:
        """ADDRESS[:PORT] the relay may listen on and hosts can reach: the plan's, else this controller's; empty without one.

        Raises:
            BadInput: this controller's is none.
        """
        if not delivery.relay:
            try:
                listen_address(self.settings.relay)
            except ValueError as error:
                raise BadInput(f"UPKEEP_RELAY: {error}") from error
        return delivery.relay or self.settings.relay

    def relay(self, delivery: Delivery) -> Relay:
        """A relay that listens from now on; on loopback where no address was named.

        Raises:
            ArtifactError: it cannot listen there.
        """
        return Relay(*listen_address(self.relay_address(delivery)))


def _traces() -> Callable[[Event], None]:
    try:
        from upkeep.services.traces import Traces  # noqa: PLC0415 - an extra that few install
    except ImportError as error:
        raise BadInput(
            f"{TRACES_TO} is set and OpenTelemetry is not installed",
            found=error,
            remedy="pip install 'upkeep[otel]', or unset it",
        ) from error
    return Traces(__version__)


@functools.cache
def site() -> Site:
    """The controller this process runs on."""
    return Site(Settings.from_environment())
