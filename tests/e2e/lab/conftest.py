"""A lab of its own for each test, and a controller with a home of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.lab.controller import Controller
from upkeep.lab.lab import Lab


@pytest.fixture
def controller(tmp_path: Path, prefect_server: dict[str, str]) -> Controller:
    return Controller(tmp_path / "home", prefect_server)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Four hosts with 1.4.2."""
    made = Lab(tmp_path / "lab")
    made.up(hosts=4)
    yield made
    made.remove()
