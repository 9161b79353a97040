"""A host's services without a fleet around them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.lab.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "h1")
