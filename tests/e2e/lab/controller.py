"""The command line as people call it, and what is to be seen on a lab's hosts."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upkeep.lab.lab import Lab

UPKEEP = str(Path(sys.executable).parent / "upkeep")
QUICK = (
    "down_budget_pct=75",
    "healthy_time=1s",
    "soak.canary=1s",
    "soak.other=1s",
    "soak.every=1s",
    "dead_man=5m",
    "healthy_deadline=20s",
)


@dataclass
class Controller:
    """`upkeep` with a home of its own."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        own = {
            "UPKEEP_HOME": str(self.home),
            "PREFECT_HOME": str(self.home / "prefect"),
            "UPKEEP_SSH_CONFIG": "/dev/null",
        }
        return {**os.environ, **own, **self.environ}

    def __call__(self, *words: str, timeout_seconds: float = 1200) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [UPKEEP, *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def json(self, *words: str) -> tuple[int, dict[str, Any]]:
        done = self(*words, "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def run(
        self, lab: Lab, *words: str, runbook: str = "maintenance", settings: tuple[str, ...] = QUICK
    ) -> tuple[int, dict[str, Any]]:
        return self.json(
            "run", runbook, *documents(lab), *(part for text in settings for part in ("--set", text)), *words
        )


def documents(lab: Lab) -> tuple[str, ...]:
    return ("-i", str(lab.inventory_path), "-p", str(lab.plan_path))


def outcomes(report: Mapping[str, Any]) -> dict[str, str]:
    return {name: result["outcome"] for name, result in report["hosts"].items()}


def versions(lab: Lab) -> dict[str, str]:
    """What the agent on every host says of itself when asked."""
    said = {}
    for host in lab.status():
        binary = lab.paths.host(host.name).binary
        said[host.name] = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, check=True
        ).stdout.split()[-1]
    return said


def tree_hash(folder: Path, *, without: tuple[str, ...] = ("journal",)) -> str:
    """SHA-256 over names, modes and contents below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] in without or path.is_socket():
            continue
        digest.update(f"{name}\0{path.lstat().st_mode:o}\0".encode())
        if path.is_symlink():
            digest.update(str(path.readlink()).encode())
        elif path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()
