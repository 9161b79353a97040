"""The programs of the production units, as the units start them: schedules are kept, and a stopped worker finishes its runs (issue 5: 1; faults 44, 46)."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.lab.controller import versions
from tests.e2e.lab.served import request_for, until
from tests.unit.deployments.test_production_files import ENVIRONMENT, PRODUCTION, ROOT, section
from upkeep.audit.history import History
from upkeep.domain.change import RunOutcome
from upkeep.lab.lab import Lab

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("production")]
PASSWORD = ("upkeep", "a-password")


@dataclass
class Machine:
    """A machine on which the units run, without systemd."""

    folder: Path
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """That of upkeep.env with this machine's places, SQLite and a password."""
        home = str(self.folder / "home")
        here = {
            key: value.replace("/var/lib/upkeep", home).replace("4200", str(self.port))
            for key, value in ENVIRONMENT.items()
        }
        given = {key: value.replace("CHANGE-ME", PASSWORD[1]) for key, value in here.items() if "DATABASE" not in key}
        own = {"UPKEEP_CHECKOUT": str(ROOT), "UPKEEP_SSH_CONFIG": "/dev/null", "UPKEEP_PLANS": f"{home}/plans"}
        return {"PATH": os.environ["PATH"], "HOME": home} | given | own

    def words(self, unit: str, key: str) -> list[str]:
        line = section(PRODUCTION / "systemd" / f"{unit}.service")[key]
        return shlex.split(line.replace("/opt/upkeep", str(ROOT)).replace("4200", str(self.port)))

    def start(self, unit: str) -> None:
        with (self.folder / f"{unit}.log").open("ab") as log:
            self.running[unit] = subprocess.Popen(
                self.words(unit, "ExecStart"), cwd=ROOT, env=self.environment(), stdout=log, stderr=log
            )
        if "ExecStartPost" in section(PRODUCTION / "systemd" / f"{unit}.service"):
            subprocess.run(self.words(unit, "ExecStartPost"), check=True, timeout=300)

    def stop(self, unit: str) -> int:
        """As KillMode=mixed does it: the main process is told, nobody else."""
        self.running[unit].terminate()
        return self.running[unit].wait(300)

    def asked(self, path: str, body: object = None, *, auth: tuple[str, str] | None = PASSWORD) -> httpx.Response:
        """What the server answers; one that is busy (503, its database is locked) is asked again."""
        method, answers = "GET" if body is None else "POST", []

        def answered() -> bool:
            address = f"http://127.0.0.1:{self.port}/api/{path}"
            answers.append(httpx.request(method, address, json=body, auth=auth, timeout=30))
            return bool(answers[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE)

        until(answered, 60)
        return answers[-1]

    def run(self, deployment: str, parameters: dict[str, Any]) -> str:
        answer = self.asked(f"deployments/{deployment}/create_flow_run", {"parameters": parameters})
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def flow_runs(self, flow: str, state: str) -> list[dict[str, Any]]:
        wanted = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"any_": [state]}}}}
        return list(self.asked("flow_runs/filter", wanted).json())

    def log(self, unit: str) -> str:
        return (self.folder / f"{unit}.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("production")
    (folder / "home").mkdir()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        made = Machine(folder, sock.getsockname()[1])
    try:
        for unit in ("upkeep-prefect", "upkeep-worker", "upkeep-services"):
            made.start(unit)
        yield made
    finally:
        for process in made.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in made.running.values():
            process.wait(60)


def test_the_server_answers_nobody_without_the_password(machine: Machine) -> None:
    assert machine.asked("flow_runs/filter", {}, auth=None).status_code == 401
    assert machine.asked("flow_runs/filter", {}, auth=("upkeep", "another")).status_code == 401
    assert machine.asked("flow_runs/filter", {}).is_success


def test_a_scheduled_run_is_created_and_carried_out(machine: Machine) -> None:
    until(lambda: bool(machine.flow_runs("window_opener", "SCHEDULED")), 120)
    until(lambda: bool(machine.flow_runs("window_opener", "COMPLETED")), 150)
    done = machine.flow_runs("window_opener", "COMPLETED")[0]
    assert done["auto_scheduled"], "the server's scheduler made it"
    assert machine.running["upkeep-services"].poll() is None
    assert "looking after reconciliation, window_opener, release_watch" in machine.log("upkeep-services")


def test_a_worker_that_is_stopped_finishes_its_run_and_takes_no_new_one(machine: Machine, lab: Lab) -> None:
    until(lambda: machine.asked("deployments/name/maintenance/manual").is_success, 120)
    deployment = machine.asked("deployments/name/maintenance/manual").json()["id"]
    parameters = {"request": request_for(lab, healthy_time="10s")}
    run = machine.run(deployment, parameters)
    until(lambda: "1.5.0" in versions(lab).values(), 120)
    worker = machine.running["upkeep-worker"]
    worker.terminate()
    until(lambda: "finishing 1 run" in machine.log("upkeep-worker"), 60)
    late = machine.run(deployment, parameters)
    assert worker.wait(300) == 0, machine.log("upkeep-worker")
    history = History.open(f"sqlite:///{machine.folder / 'home' / 'history.db'}")
    detail = history.run_of_flow(run)
    assert detail is not None
    assert detail.outcome is RunOutcome.SUCCEEDED, detail.reason
    assert set(versions(lab).values()) == {"1.5.0"}
    assert history.run_of_flow(late) is None
    history.close()
    assert machine.asked(f"flow_runs/{run}").json()["state"]["type"] == "COMPLETED"
    assert machine.asked(f"flow_runs/{late}").json()["state"]["type"] == "SCHEDULED"
