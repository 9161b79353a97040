"""What tests of several rooms share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.e2e.lab.controller import Controller
    from tests.postgresql import Cluster
    from upkeep.lab.lab import Lab

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings that lead to the one Prefect server of this test run."""
    from tests.e2e.prefect_server import shared_server

    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with shared_server(folder / "prefect-server") as settings:
        yield settings


@pytest.fixture
def controller(tmp_path: Path, prefect_server: dict[str, str]) -> Controller:
    """`upkeep` with a home of its own, on the Prefect server of this test run."""
    from tests.e2e.lab.controller import Controller

    return Controller(tmp_path / "home", prefect_server)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Four hosts with 1.4.2."""
    from upkeep.lab.lab import Lab

    made = Lab(tmp_path / "lab")
    made.up(hosts=4)
    yield made
    made.remove()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """The one PostgreSQL of this test process."""
    from tests.postgresql import running_cluster

    with running_cluster() as cluster:
        yield cluster
