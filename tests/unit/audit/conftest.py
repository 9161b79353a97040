"""A history of its own, on SQLite and on PostgreSQL, and a run to write about.

A test that asks for `database`, the file, is about SQLite alone; every other one holds on both.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.audit.raw_database import RawDatabase
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "address" in metafunc.fixturenames:
        kinds = ["sqlite"] if "database" in metafunc.fixturenames else ["sqlite", "postgresql"]
        metafunc.parametrize("address", kinds, indirect=True)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'history.db'}"
        return
    cluster = request.getfixturevalue("postgresql")
    made = cluster.database()
    yield made
    cluster.drop(made)


@pytest.fixture
def raw(history: History, address: str) -> Iterator[RawDatabase]:
    opened = RawDatabase(address)
    yield opened
    opened.close()


@pytest.fixture
def history(address: str) -> Iterator[History]:
    opened = History.open(address)
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
