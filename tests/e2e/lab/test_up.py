"""`upkeep up`: runbooks started through a Prefect server, as the UI starts them (issue 2: 9; R1, R5, R7)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from tests.e2e.lab.controller import UPKEEP, Controller, outcomes, versions
from upkeep.lab.lab import Lab

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Controller, str]]:
    """A controller with `upkeep up` running, and the address of its API."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    controller = Controller(tmp_path / "home")
    controller.home.mkdir()
    api = f"http://127.0.0.1:{port}/api"
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [UPKEEP, "up", "--port", str(port)], env=controller.environment(), stdout=log, stderr=log, cwd="/"
        )
    try:
        yield controller, api
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0, (tmp_path / "up.log").read_text()


@pytest.mark.timeout(600)
def test_a_run_started_through_the_server_changes_the_fleet_and_leaves_its_artifacts(
    lab: Lab, served: tuple[Controller, str]
) -> None:
    controller, api = served
    request = {
        "inventory": str(lab.inventory_path),
        "plan": str(lab.plan_path),
        "settings": {"healthy_time": "1s", "soak.canary": "1s", "soak.other": "1s", "down_budget_pct": "75"},
    }
    deployment = _when_there(f"{api}/deployments/name/maintenance/manual")
    run = httpx.post(
        f"{api}/deployments/{deployment['id']}/create_flow_run", json={"parameters": {"request": request}}
    ).json()
    ended = _when_final(f"{api}/flow_runs/{run['id']}")
    assert ended["state"]["type"] == "COMPLETED", ended["state"]
    assert ended["name"].startswith("maintenance plan ")
    assert set(versions(lab).values()) == {"1.5.0"}
    code, report = controller.json("status", "last")
    assert (code, set(outcomes(report).values())) == (0, {"committed"})
    wanted = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    kinds = {artifact["type"] for artifact in httpx.post(f"{api}/artifacts/filter", json=wanted).json()}
    assert kinds == {"table", "progress", "markdown"}


def _when_there(address: str) -> dict[str, Any]:
    deadline = monotonic() + 300
    while monotonic() < deadline:
        try:
            answer = httpx.get(address, timeout=5)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.is_success:
            return dict(answer.json())
        sleep(0.05)
    raise AssertionError(f"{address} never answered; {os.getloadavg()}")


def _when_final(address: str) -> dict[str, Any]:
    deadline = monotonic() + 300
    while monotonic() < deadline:
        run = dict(httpx.get(address, timeout=30).json())
        if run["state"]["type"] in FINAL:
            return run
        sleep(0.05)
    raise AssertionError(f"the flow run is still {run['state']}")
