"""Ten real systemd hosts with nats-server 2.10.25, and a site that wants 2.12.8. Needs root: CI has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.booted_machines import booted_machines
from tests.e2e.machines import nats
from upkeep.lab.machines import faults
from upkeep.lab.machines.fleet import MachineFleet

CLEAR = (
    "systemctl stop --quiet nats-agent 2>/dev/null || true; rm -rf /var/lib/upkeep /opt/nats-agent /var/lib/nats-agent"
)


@dataclass(frozen=True)
class Site:
    """Documents for the hosts."""

    inventory: Path
    plan: Path

    def words(self, *settings: str) -> tuple[str, ...]:
        return (
            "-i",
            str(self.inventory),
            "-p",
            str(self.plan),
            *(part for text in settings for part in ("--set", text)),
        )


@pytest.fixture(scope="session")
def machines() -> Iterator[MachineFleet]:
    with booted_machines("e2e", 10) as fleet:
        yield fleet


@pytest.fixture
def old_agents(machines: MachineFleet) -> MachineFleet:
    """Every host healed and with the old version, whatever a test before did."""
    machines.each(faults.heal)
    machines.each(lambda machine: machine.sh(CLEAR))
    nats.install(machines, nats.OLD)
    return machines


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("releases")
    key = nats.new_key(folder)
    nats.release(folder / nats.NEW, nats.NEW, 212, key)
    return folder


@pytest.fixture
def site(old_agents: MachineFleet, releases: Path, tmp_path: Path) -> Site:
    (tmp_path / "inventory.yaml").write_text(yaml.safe_dump(old_agents.inventory()))
    (tmp_path / "nats-agent.yaml").write_text(nats.PROFILE.read_text())
    plan = {
        "name": "nats-2.12",
        "profile": "nats-agent.yaml",
        "release": str(releases / nats.NEW / "release.json"),
        "trust": {"keys": [{"id": "nats", "file": str(releases / "release.pem")}]},
        "stages": ["canary", "100%"],
        "down_budget_pct": 60,
        "healthy_time": "2s",
        "healthy_deadline": "30s",
        "dead_man": "5m",
        "soak": {"canary": "2s", "other": "2s", "every": "1s"},
        "failures": {"unreachable": {"at_least": 4}, "environment": {"at_least": 4}},
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    return Site(tmp_path / "inventory.yaml", tmp_path / "plan.yaml")
