"""Fixtures of the transaction's tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.transaction.machine import Machine, build, end_processes


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A host that runs version 1.0.0; its paths hold a space and a quote."""
    host = build(tmp_path / "the host's root")
    try:
        yield host
    finally:
        end_processes(host)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait until something holds, at most 20 s."""

    def wait(holds: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < give_up, "it never came to hold"
            time.sleep(0.05)

    return wait


@pytest.fixture(params=["curl", "wget"])
def pulling(request, machine: Machine, tmp_path: Path) -> Path:
    """Hosts that have only the one or the other."""
    tools = tmp_path / "only"
    tools.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            if program.name not in {"curl", "wget"} - {request.param} and not (tools / program.name).exists():
                (tools / program.name).symlink_to(program)
    return tools
