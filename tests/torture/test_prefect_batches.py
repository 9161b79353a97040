"""A run whose Prefect tasks are batches of hosts is suspended, cancelled, killed, and its worker stopped: every host ends well
(issue 4: 4; issue 3: 2; faults 44, 46, 47).
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.batches import LARGE_RUN_HOSTS
from tests.e2e.lab.controller import versions
from tests.e2e.lab.served import CANCELLING, FINAL, RESUMING, SUSPENDED, request_for, until
from tests.torture.worker import Worked, terminate
from upkeep.audit.reading import RunDetail
from upkeep.domain.change import HostOutcome, RunOutcome, Step
from upkeep.domain.record import Happening
from upkeep.lab.lab import Lab
from upkeep.process import lives

pytestmark = [pytest.mark.timeout(1200), pytest.mark.xdist_group("worker")]

HOSTS, AT_ONCE = LARGE_RUN_HOSTS + 4, 4
SLOWLY = {"stages": "[{pct: 10, soak: 1s}, {pct: 100, soak: 1s}]", "at_once": str(AT_ONCE), "healthy_deadline": "60s"}
DONE_ONCE = {Step.BACKUP, Step.FETCH, Step.SWITCH, Step.COMMIT}


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Lab]:
    """More hosts than have tasks of their own."""
    made = Lab(tmp_path / "lab")
    made.up(hosts=HOSTS)
    yield made
    made.remove()


def begun(lab: Lab, worked: Worked, healthy_time: str) -> str:
    """A run in the middle of its second stage: hosts of one batch are committed, others in work, others not begun."""
    run = worked.start(request_for(lab, **SLOWLY, healthy_time=healthy_time))

    def in_the_middle() -> bool:
        found = worked.history.run_of_flow(run)
        if found is None or len(found.stages) < len(("first", "second")):
            return False
        later = set(found.stages[1].hosts)
        return any(host in later and found.hosts[host].outcome is HostOutcome.COMMITTED for host in found.hosts)

    until(in_the_middle, 600, told=lambda: worked.asked("GET", f"flow_runs/{run}")["state"])
    batches = {title for title in task_runs(worked, run) if title.endswith(" and others")}
    assert any(title.startswith("change host") for title in batches), batches
    return run


def task_runs(worked: Worked, run: str) -> list[str]:
    wanted = {"flow_runs": {"id": {"any_": [run]}}}
    return [task["name"] for task in worked.asked("POST", "task_runs/filter", wanted)]


def outcomes(run: RunDetail) -> Counter[str]:
    return Counter(
        run.hosts[host.name].outcome or "open" if host.name in run.hosts else "open" for host in run.record.targets
    )


def repeated(worked: Worked, run: RunDetail) -> list[tuple[str, Step]]:
    """Steps that were finished more than once on one host."""
    finished = Counter(
        (step.host, step.step) for step in worked.history.steps(run.id) if step.happening is Happening.OK
    )
    return [key for key, times in finished.items() if key[1] in DONE_ONCE and times > 1]


def well(lab: Lab, worked: Worked, run: RunDetail) -> None:
    """Every host runs the version its outcome says, with its agent registered, and nothing of the change is left half-done."""
    now = versions(lab)
    for host in lab.status():
        known = run.hosts.get(host.name)
        wanted = "1.5.0" if known is not None and known.outcome is HostOutcome.COMMITTED else "1.4.2"
        assert (host.active, now[host.name]) == ("active", wanted), (host, known)
        upkeep = lab.paths.host(host.name).root / "var/lib/upkeep/ms-720"
        left = [name for name in ("lock", "guard") if (upkeep / name).exists() and any((upkeep / name).iterdir())]
        assert left == [], (host.name, left)
    assert worked.controller("history", "verify").returncode == 0


def test_suspend_begins_no_further_host_of_an_open_batch_and_resume_goes_on(many: Lab, worked: Worked) -> None:
    run = begun(many, worked, "10s")
    worked.set_state(run, SUSPENDED)
    until(lambda: lives(worked.run_of(run).process) is False, 600)
    left = worked.run_of(run)
    assert left.outcome is None
    assert set(outcomes(left)) == {HostOutcome.COMMITTED, "open"}, outcomes(left)
    well(many, worked, left)
    worked.set_state(run, RESUMING)
    until(lambda: worked.run_of(run).outcome is not None, 900)
    done = worked.run_of(run)
    assert (done.outcome, outcomes(done)) == (RunOutcome.SUCCEEDED, {HostOutcome.COMMITTED: HOSTS}), done.reason
    assert repeated(worked, done) == []
    well(many, worked, done)


def test_cancel_puts_hosts_in_work_back_says_why_and_retry_finishes(many: Lab, worked: Worked) -> None:
    run = begun(many, worked, "10s")
    worked.set_state(run, CANCELLING)
    until(lambda: worked.run_of(run).outcome is not None, 600)
    stopped = worked.run_of(run)
    assert stopped.outcome is RunOutcome.STOPPED
    assert "cancelled" in stopped.reason
    assert set(outcomes(stopped)) <= {HostOutcome.COMMITTED, HostOutcome.ROLLED_BACK, HostOutcome.NOT_STARTED}
    assert outcomes(stopped)[HostOutcome.NOT_STARTED], outcomes(stopped)
    assert all(host.reason for host in stopped.hosts.values() if host.outcome is not HostOutcome.COMMITTED)
    well(many, worked, stopped)
    code, report = worked.controller.json("retry", stopped.id)
    assert (code, report["outcome"]) == (0, "succeeded"), report
    back = {host for host, known in stopped.hosts.items() if known.outcome is HostOutcome.ROLLED_BACK}
    assert {host for host, version in versions(many).items() if version == "1.4.2"} == back


def test_a_flow_process_that_is_killed_in_a_batch_leaves_hosts_that_resume(many: Lab, worked: Worked) -> None:
    run = begun(many, worked, "5s")
    left = worked.run_of(run)
    os.kill(worked.flow_process(run), signal.SIGKILL)
    assert worked.when(run, *FINAL)["state"]["type"] == "CRASHED"
    worked.finish(run, many)
    assert repeated(worked, left) == []
    well(many, worked, worked.history.run(left.id))


def test_a_worker_that_is_stopped_in_a_batch_leaves_a_run_that_says_so_and_can_be_finished(
    many: Lab, worked: Worked
) -> None:
    run = begun(many, worked, "10s")
    terminate(worked.worker)
    until(lambda: lives(worked.run_of(run).process) is False, 600)
    worked.reconcile()
    left = worked.run_of(run)
    if left.outcome is None:  # Prefect killed the flow process together with its worker
        assert worked.state(run) == "CRASHED"
        told = [event.reason for event in worked.history.events(left.id) if event.action == "run.orphaned"]
        assert len(told) == 1, told
        assert f"upkeep resume {left.id}" in told[0]
        worked.finish(run, many)
        assert repeated(worked, left) == []
        well(many, worked, worked.history.run(left.id))
    elif left.outcome is RunOutcome.STOPPED:  # it was given the time to put its hosts back
        assert "cancelled" in left.reason
        well(many, worked, left)
        code, report = worked.controller.json("retry", left.id)
        assert (code, report["outcome"]) == (0, "succeeded"), report
    else:  # it was over before it was stopped
        assert left.outcome is RunOutcome.SUCCEEDED
        well(many, worked, left)
