"""One real host under torture: how a run works on it over SSH, and what a person would find on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any

from tests.torture import agent
from tests.torture.trap import Trap, install
from upkeep.domain.change import JournalState
from upkeep.domain.inventory import Inventory
from upkeep.hosts.host_change import HostChange, Order
from upkeep.hosts.host_state import HostState
from upkeep.hosts.ssh import SshTransport
from upkeep.hosts.ssh_target import SshTarget, check_reach
from upkeep.lab.machines.fleet import MachineFleet
from upkeep.lab.machines.machine import Machine

PROGRAM = {version: agent.agent(version) for version in (agent.OLD, agent.NEW)}
ARCHIVE = agent.archive(PROGRAM[agent.NEW])
_RUNS = count(1)


@dataclass
class Host:
    """A machine, its SSH target, and the archive its runs deliver."""

    machine: Machine
    target: SshTarget
    archive: bytes = ARCHIVE
    _transport: SshTransport | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def trap(self) -> Trap:
        return Trap(self.machine)

    @property
    def change(self) -> HostChange:
        """The transaction over the kept connection."""
        if self._transport is None:
            self._transport = SshTransport(self.target)
        return HostChange(self._transport, agent.PROFILE, become=True)

    def hang_up(self) -> None:
        """End the connection, as a controller that dies does."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def install(self) -> None:
        """The old version, as a site has it before Upkeep comes; nothing of an earlier test is left."""
        self.hang_up()
        self.archive = ARCHIVE
        install(self.machine)
        self.machine.sh(agent.INSTALL, stdin=PROGRAM[agent.OLD])

    def order(self, **changed: Any) -> Order:
        order = Order(
            run=f"run-{next(_RUNS)}",
            owner="ada",
            reason="torture",
            fence=0,
            from_version=agent.OLD,
            to_version=agent.NEW,
            artifact_sha256=agent.sha256(self.archive),
            artifact_size_bytes=len(self.archive),
            lease=timedelta(minutes=10),
            dead_man=timedelta(minutes=5),
        )
        return replace(order, **changed)

    def locked(self, order: Order | None = None) -> Order:
        """Nobody else works on these hosts: whatever run held the lock is over."""
        order = order or self.order()
        return replace(order, fence=self.change.take_lock(order, take_over=True))

    def deliver(self, order: Order) -> None:
        """Backup, delivery, staging: all that comes before the switch."""
        self.change.back_up(order, lambda piece: None)
        self.change.deliver(order, [self.archive], offset=0)
        self.change.stage(order)

    def staged(self, **changed: Any) -> Order:
        order = self.locked(self.order(**changed))
        self.deliver(order)
        return order

    def switched(self, **changed: Any) -> Order:
        order = self.staged(**changed)
        self.change.switch(order)
        return order

    def committed(self, **changed: Any) -> Order:
        order = self.switched(**changed)
        self.change.commit(order)
        return order

    def state(self) -> HostState:
        return self.change.inspect()

    def running(self) -> str:
        """The version of the unit's main process; empty when it is not active."""
        said = self.machine.sh(
            f"[ $(systemctl is-active {agent.NAME}.service) = active ] || exit 0; read -r pid version </run/{agent.NAME}.running || exit 0;"
            f" [ $(systemctl show -P MainPID {agent.NAME}.service) != $pid ] || echo $version"
        )
        return said.strip()

    def processes(self) -> int:
        """How many agents run, by any name they were started under."""
        return int(self.machine.sh(f"pgrep -fc '^/bin/sh .*{agent.NAME} run$' || true"))

    def installed(self) -> str:
        """The version that the binary's path leads to, by its hash; empty when it is none that was ever whole."""
        found = self.machine.sh(f"sha256sum <{agent.BINARY} | cut -d ' ' -f 1").strip()
        return next((version for version, text in PROGRAM.items() if agent.sha256(text) == found), "")

    def config(self) -> str:
        return self.machine.sh(f"cat {agent.CONFIG_FILE}")

    def left_by_guard(self) -> bool:
        """The host is put back, and the guard has removed itself."""
        state = self.state()
        return state.journal.state is JournalState.ROLLED_BACK and state.guard is None

    def after_power_cut(self) -> None:
        self.hang_up()
        self.machine.boot()


def hosts_of(fleet: MachineFleet) -> list[Host]:
    """Every machine of a fleet, reached as its inventory says."""
    inventory = Inventory.model_validate(fleet.inventory())
    hosts = inventory.all_hosts()
    targets = check_reach(hosts, {host.name: host for host in hosts}, ssh_config=None, environ={"LOGNAME": "root"})
    return [Host(machine, targets[machine.name]) for machine in fleet.machines]


Step = Callable[[Host, Order], object]
