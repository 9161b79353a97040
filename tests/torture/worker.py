"""A real Prefect process worker with our runbook `maintenance`, and ways to end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.lab.controller import Controller, versions
from tests.e2e.lab.served import FINAL, Served
from upkeep.lab.lab import Lab
from upkeep.project import project_folder

RECONCILE = "from upkeep.wiring import site; from tasks.reconcile_runs import reconcile_runs; reconcile_runs(site())"


@dataclass(frozen=True)
class Worked(Served):
    """The same with a process worker instead of `upkeep up`."""

    worker: subprocess.Popen[bytes]

    def flow_process(self, run: str) -> int:
        return int(self.run_of(run).process.split(":")[2])

    def reconcile(self) -> None:
        subprocess.run(
            [sys.executable, "-c", RECONCILE], env=self.controller.environment(), cwd=project_folder(), check=True
        )

    def state(self, run: str) -> str:
        return str(self.when(run, "RUNNING", "PAUSED", "SCHEDULED", *FINAL)["state"]["type"])

    def finish(self, run: str, lab: Lab) -> None:
        """Go on by hand, as `upkeep status` says."""
        code, report = self.controller.json("resume", self.run_of(run).id)
        assert (code, report["outcome"]) == (0, "succeeded"), report
        assert set(versions(lab).values()) == {"1.5.0"}
        assert self.controller("history", "verify").returncode == 0


@contextmanager
def working(folder: Path, prefect_server: dict[str, str], *, log: Path) -> Iterator[Worked]:
    """A work pool with our runbook `maintenance`, without the timed ones, and one worker; the settings are those of deployments/prefect.yaml."""
    controller = Controller(folder / "home", {**prefect_server, "UPKEEP_CHECKOUT": str(project_folder())})
    controller.home.mkdir()

    def prefect(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *words],
            env=controller.environment(),
            cwd=project_folder(),
            check=True,
            capture_output=True,
        )

    prefect("work-pool", "create", "upkeep", "--type", "process", "--overwrite")
    prefect("deploy", "--name", "maintenance/manual", "--prefect-file", "deployments/prefect.yaml")
    words = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "upkeep", "--type", "process"]
    with log.open("wb") as out:
        worker = subprocess.Popen(words, env=controller.environment(), stdout=out, stderr=out, start_new_session=True)
    try:
        yield Worked(controller, prefect_server["PREFECT_API_URL"], worker)
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def terminate(worker: subprocess.Popen[bytes]) -> bool:
    """SIGTERM; whether the worker heeded it. Now and then Prefect's takes the first and goes on all the same; a second one kills it."""
    worker.terminate()
    try:
        assert worker.wait(120) == 0
    except subprocess.TimeoutExpired:
        worker.terminate()
        assert worker.wait(120) == -signal.SIGKILL
        return False
    return True
