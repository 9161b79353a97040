"""`upkeep` inside the machines' control namespace, with documents for them: what a person at a real site has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from tests.e2e.lab.controller import UPKEEP
from tests.endurance.machines.site import CONFIGURATION, PATHS, SHARED, Host, inventory, profile
from upkeep.lab.certificates import public_pem
from upkeep.lab.releases import Member, write_release

REPAIRS = {
    "configuration": [{"path": PATHS["CONFIG"], "template": "agent.yaml.template"}],
    "chain": {"path": PATHS["CA"], "certificates": "authority.pem"},
    "interval": {"path": PATHS["CONFIG"], "pattern": r"heartbeat_interval:\s*(\d+)", "value": "1"},
    "backoff": "1s",
    "steady": "1s",
    "verify_within": "60s",
}


@dataclass
class Controller:
    """One controller with a home and documents of its own in `folder`."""

    hosts: list[Host]
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        chains = self.hosts[0].centre.folder
        key = ec.generate_private_key(ec.SECP256R1())
        (self.folder / "release.pub").write_bytes(public_pem(key))
        facts = {"product": "link-agent", "version": "1.1.0", "release_seq": 2, "expires": datetime.now(UTC) + timedelta(days=30), "upgrade_from": ">=1.0.0"}  # fmt: skip
        write_release(self.folder / "release", "agent.tar.gz", [Member("x/link-agent", b"#!/bin/sh\n")], key=key, facts=facts)  # fmt: skip
        listed = inventory(self.hosts[0].fleet)
        for host in self.hosts:
            listed["hosts"][host.name]["vars"] = {"centre": host.centre.address}
        own = profile(str(chains / "root.pem"), "{{ centre }}")
        own["control_centre"]["ca"] = str(
            self.folder / "authority.pem"
        )  # a controller that knows the intermediate already
        own["trust"] = {"keys": [{"id": "site", "file": str(self.folder / "release.pub")}]}
        self.write("inventory.yaml", listed)
        self.write("profile.yaml", own)
        self.write("checks.yaml", {"adjust": {check: {"off": True} for check in SHARED}})
        self.plan()
        (self.folder / "agent.yaml.template").write_text(CONFIGURATION.format(name="{{ host }}", server="{{ centre }}"))
        authority = (chains / "root.pem").read_text() + (chains / "intermediate.pem").read_text()
        (self.folder / "authority.pem").write_text(authority)

    def plan(self, **changes: Any) -> None:
        """Write the plan anew."""
        plan = {"name": "link-agent", "profile": "profile.yaml", "release": "release/release.json", "targets": "all", "repairs": REPAIRS}  # fmt: skip
        self.write("plan.yaml", {**plan, **changes})

    def write(self, name: str, document: dict[str, Any]) -> None:
        (self.folder / name).write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")

    @property
    def documents(self) -> tuple[str, ...]:
        return ("-i", str(self.folder / "inventory.yaml"), "-p", str(self.folder / "plan.yaml"))

    def environment(self) -> dict[str, str]:
        home = self.folder / "home"
        own = {"UPKEEP_HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "UPKEEP_SSH_CONFIG": "/dev/null"}
        return {**os.environ, **own, **self.environ}

    def words(self, *words: str) -> list[str]:
        return self.hosts[0].fleet.control_command(UPKEEP, *words)

    def __call__(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*words),
            env=self.environment() | environ,
            capture_output=True,
            text=True,
            timeout=1200,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def json(self, *words: str) -> tuple[int, dict[str, Any]]:
        done = self(*words, "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def run(self, runbook: str, *words: str) -> tuple[int, dict[str, Any]]:
        return self.json("run", runbook, *self.documents, *words)

    def forget(self) -> None:
        """Everything of this controller."""
        shutil.rmtree(self.folder)
