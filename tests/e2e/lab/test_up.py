"""`upkeep up`: runbooks started through a Prefect server, cancelled, suspended, killed (issue 2: 9; issue 3: 2; R1, R5, R7; faults 44, 46, 47)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from tests.e2e.lab.controller import UPKEEP, Controller, outcomes, versions
from upkeep.audit.history import History
from upkeep.audit.reading import RunDetail
from upkeep.domain.change import HostOutcome, RunOutcome
from upkeep.lab.lab import Lab
from upkeep.process import lives

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("up")]


@dataclass(frozen=True)
class Served:
    """A controller with `upkeep up` running, and its Prefect API."""

    controller: Controller
    api: str

    @property
    def history(self) -> History:
        return History.open(f"sqlite:///{self.controller.home / 'history.db'}")

    def start(self, request: dict[str, Any]) -> str:
        """Start `maintenance` as the UI does; the flow run's id."""
        where = f"{self.api}/deployments/name/maintenance/manual"
        _until(lambda: _reads(where))
        deployment = httpx.get(where).json()["id"]
        where = f"{self.api}/deployments/{deployment}/create_flow_run"
        answer = httpx.post(where, json={"parameters": {"request": request}}, timeout=30)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def when(self, run: str, *states: str) -> dict[str, Any]:
        """The flow run once it is in one of these states."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            found.update(httpx.get(f"{self.api}/flow_runs/{run}", timeout=30).json())
            return found["state"]["type"] in states

        _until(reached)
        return found

    def set_state(self, run: str, state: dict[str, Any]) -> None:
        answer = httpx.post(f"{self.api}/flow_runs/{run}/set_state", json={"state": state, "force": False}, timeout=30)
        assert answer.json()["status"] == "ACCEPT", answer.text

    def run_of(self, flow_run: str) -> RunDetail:
        history = self.history
        try:
            found = history.run_of_flow(flow_run)
            assert found is not None
            return found
        finally:
            history.close()

    def until_switched(self, lab: Lab) -> None:
        _until(lambda: "1.5.0" in versions(lab).values())


def _reads(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("up")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    controller = Controller(folder / "home")
    controller.home.mkdir()
    api = f"http://127.0.0.1:{port}/api"
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [UPKEEP, "up", "--port", str(port)], env=controller.environment(), stdout=log, stderr=log, cwd="/"
        )
    try:
        yield Served(controller, api)
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0, (folder / "up.log").read_text()


@pytest.fixture
def request_of(lab: Lab) -> dict[str, Any]:
    quick = {"healthy_time": "1s", "soak.canary": "1s", "soak.other": "1s", "soak.every": "1s", "down_budget_pct": "75"}
    limits = {"dead_man": "40s", "healthy_deadline": "20s"}
    return {"inventory": str(lab.inventory_path), "plan": str(lab.plan_path), "settings": quick | limits}


def test_a_run_started_through_the_server_changes_the_fleet_and_leaves_its_artifacts(
    lab: Lab, served: Served, request_of: dict[str, Any]
) -> None:
    run = served.start(request_of)
    ended = served.when(run, *FINAL)
    assert ended["state"]["type"] == "COMPLETED", ended["state"]
    assert ended["name"].startswith("maintenance plan ")
    assert set(versions(lab).values()) == {"1.5.0"}
    code, report = served.controller.json("status", "last")
    assert (code, set(outcomes(report).values())) == (0, {"committed"})
    wanted = {"flow_runs": {"id": {"any_": [run]}}}
    kinds = {artifact["type"] for artifact in httpx.post(f"{served.api}/artifacts/filter", json=wanted).json()}
    assert kinds == {"table", "progress", "markdown"}


def test_a_cancelled_run_puts_its_hosts_in_work_back(lab: Lab, served: Served, request_of: dict[str, Any]) -> None:
    request_of["settings"]["healthy_time"] = "15s"
    run = served.start(request_of)
    served.until_switched(lab)
    served.set_state(run, {"type": "CANCELLING"})
    served.when(run, "CANCELLED", "COMPLETED")
    _until(lambda: served.run_of(run).outcome is not None)
    assert set(versions(lab).values()) == {"1.4.2"}
    assert served.run_of(run).outcome is RunOutcome.STOPPED
    assert "cancelled" in served.run_of(run).reason


def test_a_suspended_run_finishes_its_hosts_in_work_and_goes_on_when_it_is_resumed(
    lab: Lab, served: Served, request_of: dict[str, Any]
) -> None:
    request_of["settings"]["healthy_time"] = "4s"
    run = served.start(request_of)
    served.until_switched(lab)
    suspended = {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_reschedule": True}}
    served.set_state(run, suspended)
    _until(lambda: lives(served.run_of(run).process) is False)
    done = {name for name, host in served.run_of(run).hosts.items() if host.outcome is HostOutcome.COMMITTED}
    assert {name for name, version in versions(lab).items() if version == "1.5.0"} == done
    assert len(done) < len(versions(lab))
    served.set_state(run, {"type": "SCHEDULED", "name": "Resuming"})
    assert served.when(run, *FINAL)["state"]["type"] == "COMPLETED"
    assert set(versions(lab).values()) == {"1.5.0"}
    assert served.run_of(run).outcome is RunOutcome.SUCCEEDED


def test_a_run_whose_process_is_killed_is_taken_up_by_itself_where_its_plan_says_so(
    lab: Lab, served: Served, request_of: dict[str, Any]
) -> None:
    request_of["settings"] |= {"healthy_time": "4s", "resume": "auto"}
    run = served.start(request_of)
    served.until_switched(lab)
    first = served.run_of(run)
    os.kill(int(first.process.split(":")[2]), signal.SIGKILL)
    _until(lambda: served.run_of(run).outcome is not None)
    assert served.run_of(run).outcome is RunOutcome.SUCCEEDED
    assert served.run_of(run).id == first.id
    assert set(versions(lab).values()) == {"1.5.0"}
    actions = [event.action for event in served.history.events(first.id)]
    assert actions.count("run.resumed") == 1
    assert actions.count("run.orphaned") == 1


def _until(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "what was waited for did not happen"
        sleep(0.05)
