"""A real Prefect worker is stopped, killed, told to cancel and to suspend: every host ends well (issue 3: 2; faults 44, 46, 47).

What Prefect 3.8 itself does then is in docs/prefect.md: a worker's SIGTERM kills the flow process and leaves the run "Running".
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.lab.controller import Controller, versions
from tests.e2e.lab.served import CANCELLING, FINAL, RESUMING, SUSPENDED, Served, request_for, until
from upkeep.domain.change import RunOutcome
from upkeep.lab.lab import Lab
from upkeep.process import lives
from upkeep.project import project_folder

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("worker")]

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


@pytest.fixture
def worked(tmp_path: Path, prefect_server: dict[str, str]) -> Iterator[Worked]:
    """A work pool with our runbook `maintenance`, without the timed ones, and one worker; the settings are those of deployments/prefect.yaml."""
    controller = Controller(tmp_path / "home", {**prefect_server, "UPKEEP_CHECKOUT": str(project_folder())})
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
    environment = {**controller.environment(), "PREFECT_WORKER_QUERY_SECONDS": "2"}
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True)
    yield Worked(controller, prefect_server["PREFECT_API_URL"], worker)
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    sys.stdout.write((tmp_path / "worker.log").read_text()[-4000:])


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


def test_a_flow_process_that_is_killed_leaves_hosts_that_resume(lab: Lab, worked: Worked) -> None:
    run = worked.start(request_for(lab, healthy_time="5s"))
    worked.until_switched(lab, run)
    os.kill(worked.flow_process(run), signal.SIGKILL)
    assert worked.when(run, *FINAL)["state"]["type"] == "CRASHED"
    worked.finish(run, lab)


def test_after_a_workers_sigterm_the_run_is_marked_and_resumed(lab: Lab, worked: Worked) -> None:
    run = worked.start(request_for(lab, healthy_time="5s"))
    worked.until_switched(lab, run)
    heeded = terminate(worked.worker)
    until(lambda: lives(worked.run_of(run).process) is False)
    worked.reconcile()
    if worked.run_of(run).outcome is None:
        assert worked.state(run) == "CRASHED"
        worked.finish(run, lab)
    elif not heeded and worked.run_of(run).outcome is RunOutcome.SUCCEEDED:  # it was over before the second SIGTERM
        assert set(versions(lab).values()) == {"1.5.0"}
    else:  # the flow process was given the time to put its hosts back
        assert worked.run_of(run).outcome is RunOutcome.STOPPED
        assert set(versions(lab).values()) == {"1.4.2"}


def test_a_flow_outlives_its_worker(lab: Lab, worked: Worked) -> None:
    run = worked.start(request_for(lab, healthy_time="3s"))
    worked.until_switched(lab, run)
    worked.worker.kill()
    until(lambda: worked.run_of(run).outcome is not None)
    assert worked.run_of(run).outcome is RunOutcome.SUCCEEDED
    assert set(versions(lab).values()) == {"1.5.0"}


def test_worker_and_flow_killed_together_do_not_stay_running_for_ever(lab: Lab, worked: Worked) -> None:
    run = worked.start(request_for(lab, healthy_time="5s"))
    worked.until_switched(lab, run)
    process = worked.flow_process(run)
    worked.worker.kill()
    os.kill(process, signal.SIGKILL)
    worked.worker.wait()
    assert worked.state(run) == "RUNNING"
    worked.reconcile()
    assert worked.state(run) == "CRASHED"
    worked.finish(run, lab)


def test_cancel_puts_hosts_in_work_back(lab: Lab, worked: Worked) -> None:
    run = worked.start(request_for(lab, healthy_time="15s"))
    worked.until_switched(lab, run)
    worked.set_state(run, CANCELLING)
    until(lambda: worked.run_of(run).outcome is not None)
    assert worked.run_of(run).outcome is RunOutcome.STOPPED
    assert set(versions(lab).values()) == {"1.4.2"}


def test_suspend_finishes_hosts_in_work_and_resume_goes_on(lab: Lab, worked: Worked) -> None:
    run = worked.start(request_for(lab, healthy_time="4s"))
    worked.until_switched(lab, run)
    worked.set_state(run, SUSPENDED)
    until(lambda: lives(worked.run_of(run).process) is False)
    worked.set_state(run, RESUMING)
    until(lambda: worked.run_of(run).outcome is not None)
    assert worked.run_of(run).outcome is RunOutcome.SUCCEEDED
    assert set(versions(lab).values()) == {"1.5.0"}
