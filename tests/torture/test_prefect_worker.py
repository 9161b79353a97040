"""A real Prefect worker is stopped, killed, told to cancel and to suspend: every host ends well (issue 3: 2; faults 44, 46, 47).

What Prefect 3.8 itself does then is in docs/prefect.md: a worker's SIGTERM kills the flow process and leaves the run "Running".
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.lab.controller import versions
from tests.e2e.lab.served import CANCELLING, FINAL, RESUMING, SUSPENDED, request_for, until
from tests.torture.worker import Worked, terminate
from upkeep.domain.change import RunOutcome
from upkeep.lab.lab import Lab
from upkeep.process import lives

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("worker")]


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
