"""Runbooks started through a Prefect server, as its UI starts them."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import httpx

from tests.e2e.lab.controller import Controller, versions
from upkeep.audit.history import History
from upkeep.audit.reading import RunDetail
from upkeep.lab.lab import Lab

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
CANCELLING = {"type": "CANCELLING"}
SUSPENDED = {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_reschedule": True}}
RESUMING = {"type": "SCHEDULED", "name": "Resuming"}


def request_for(lab: Lab, **changes: str) -> dict[str, Any]:
    """The parameters of a quick run over the lab."""
    quick = {"healthy_time": "1s", "soak.canary": "1s", "soak.other": "1s", "soak.every": "1s", "down_budget_pct": "75"}
    limits = {"dead_man": "5m", "healthy_deadline": "20s"}
    return {"inventory": str(lab.inventory_path), "plan": str(lab.plan_path), "settings": quick | limits | changes}


def free_ports(number: int) -> list[int]:
    """Ports nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass(frozen=True)
class Served:
    """A controller with `upkeep up` running, and its Prefect API."""

    controller: Controller
    api: str

    @functools.cached_property
    def history(self) -> History:
        """Opened once: who waits for something looks many times."""
        return History.open(f"sqlite:///{self.controller.home / 'history.db'}")

    def start(self, request: dict[str, Any]) -> str:
        """Start `maintenance` as the UI does; the flow run's id."""
        where = f"{self.api}/deployments/name/maintenance/manual"
        until(lambda: _reads(where))
        deployment = self.asked("GET", "deployments/name/maintenance/manual")["id"]
        wanted = {"parameters": {"request": request}, "idempotency_key": str(uuid4())}
        return str(self.asked("POST", f"deployments/{deployment}/create_flow_run", wanted)["id"])

    def asked(self, method: str, path: str, body: object = None) -> Any:
        """What the server answers; a server that is busy (503: its database is locked; no answer) is asked again, as a person would."""
        answers: list[httpx.Response] = []

        def answered() -> bool:
            try:
                answers.append(httpx.request(method, f"{self.api}/{path}", json=body, timeout=30))
            except httpx.TimeoutException:
                return False
            return answers[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

        until(answered)
        assert answers[-1].is_success, answers[-1].text
        return answers[-1].json()

    def when(self, run: str, *states: str) -> dict[str, Any]:
        """The flow run once it is in one of these states."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            found.update(self.asked("GET", f"flow_runs/{run}"))
            return found["state"]["type"] in states

        until(reached)
        return found

    def set_state(self, run: str, state: dict[str, Any]) -> None:
        answer = self.asked("POST", f"flow_runs/{run}/set_state", {"state": state, "force": False})
        assert answer["status"] == "ACCEPT", answer

    def run_of(self, flow_run: str) -> RunDetail:
        found = self.history.run_of_flow(flow_run)
        assert found is not None
        return found

    def until_switched(self, lab: Lab, run: str) -> None:
        """Wait until a host runs the new version; when none ever does, say what became of the run."""
        until(lambda: "1.5.0" in versions(lab).values(), told=lambda: self.asked("GET", f"flow_runs/{run}")["state"])


def _reads(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.TransportError:
        return False


def until(condition: Callable[[], bool], seconds: float = 300, told: Callable[[], object] = lambda: "") -> None:
    """Wait for something; `told` says what there is instead when it did not happen."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"what was waited for did not happen: {told()}"
        sleep(0.05)
