"""A history in a folder of its own and a run to write about."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.copies import Copies
from upkeep.audit.history import History
from upkeep.audit.signing import KeyFolder
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile
from upkeep.domain.record import Actor, RunRecord


def run_record(run_id: str = "r1", **changes: object) -> RunRecord:
    profile = AgentProfile.model_validate(
        {
            "name": "x",
            "service": {"unit": "x.service"},
            "paths": {"binary": "/b", "releases": "/r", "upkeep": "/u"},
            "installer": {"binary_member": "b"},
            "installed_version": {"command": ["b"]},
            "running_version": {"url": "http://x"},
        },
    )
    facts = {
        "id": run_id,
        "runbook": "maintenance",
        "actor": Actor(name="ann"),
        "source": "cli",
        "plan": Plan(name="night", profile="x", release="r"),
        "plan_dir": "/",
        "plan_hash": "0" * 64,
        "profile": profile,
        "targets": (),
        "started_at": datetime.now(UTC),
    }
    return RunRecord.model_validate(facts | changes)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def history(database: Path) -> Iterator[History]:
    opened = History.open(f"sqlite:///{database}")
    opened.open_run(run_record())
    yield opened
    opened.close()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return tmp_path / "outside"


@pytest.fixture
def checkpoints(history: History, tmp_path: Path, outside: Path) -> Iterator[Checkpoints]:
    sealed = history.seal(KeyFolder(tmp_path / "keys"), Copies(str(outside)))
    yield sealed
    sealed.close()
