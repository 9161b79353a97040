"""A real agent on ten real systemd hosts (issue 2, "Shown by"; U3 U5 U7 U9 B2 R1): full, cut off, frozen, killed, rebooted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from time import monotonic, sleep

import pytest

from tests.e2e.lab.controller import UPKEEP, Controller, outcomes
from tests.e2e.machines import nats
from tests.e2e.machines.conftest import Site
from upkeep.lab.machines import faults
from upkeep.lab.machines.fleet import MachineFleet

pytestmark = [pytest.mark.machines, pytest.mark.timeout(900), pytest.mark.xdist_group("machines")]


def running(machines: MachineFleet, host: str) -> str:
    """The version that the running agent reports; empty while it does not answer."""
    said = machines.machine(host).sh("curl -s --max-time 2 http://127.0.0.1:8222/varz || true")
    return next((line.split('"')[3] for line in said.splitlines() if '"version"' in line), "")


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "what was waited for did not happen"
        sleep(0.05)


def test_ten_hosts_are_upgraded_but_those_that_are_full_cut_off_or_frozen_and_retry_finishes_exactly_these(
    old_agents: MachineFleet, site: Site, controller: Controller
) -> None:
    faults.fill(old_agents.machine("h2"), free_bytes=5 * 1024**2)
    faults.cut(old_agents.machine("h5"))
    faults.freeze(old_agents.machine("h8"))
    code, report = controller.json("run", "maintenance", *site.words())
    set_aside = {"h2": "blocked", "h5": "set aside", "h8": "set aside"}
    expected = {f"h{n}": "committed" for n in range(1, 11)} | set_aside
    assert (code, outcomes(report)) == (0, expected), report
    assert report["outcome"] == "succeeded with exceptions"
    assert report["hosts"]["h2"]["failure_class"] == "environment"
    assert {report["hosts"][name]["failure_class"] for name in ("h5", "h8")} == {"unreachable"}
    assert {running(old_agents, name) for name in expected if name not in set_aside} == {nats.NEW}
    assert running(old_agents, "h2") == nats.OLD
    old_agents.each(faults.heal)
    code, again = controller.json("retry", report["run"])
    assert (code, outcomes(again)) == (0, dict.fromkeys(set_aside, "committed")), again
    assert {running(old_agents, name) for name in expected} == {nats.NEW}
    code, undone = controller.json("rollback", report["run"], "--reason", "it was a try")
    assert (code, set(outcomes(undone).values()), len(undone["hosts"])) == (0, {"rolled back"}, 7), undone
    assert {running(old_agents, name) for name in expected if name not in set_aside} == {nats.OLD}


@pytest.mark.parametrize("reboot", [False, True], ids=["left alone", "rebooted meanwhile"])
def test_a_host_whose_controller_died_between_switch_and_commit_goes_back_by_itself(
    old_agents: MachineFleet, site: Site, controller: Controller, reboot: bool
) -> None:
    settings = ("targets=h3", "healthy_time=25s", "healthy_deadline=28s", "dead_man=30s")
    run = subprocess.Popen(
        [UPKEEP, "run", "maintenance", *site.words(*settings), "--yes"],
        env=controller.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: running(old_agents, "h3") == nats.NEW, 120)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    if reboot:
        old_agents.machine("h3").reboot()
    until(lambda: running(old_agents, "h3") == nats.OLD, 90)
    said = controller("status", "last").stdout
    assert "its process is gone" in said
    assert "rolled-back by its dead-man switch" in said, said
    left = old_agents.machine("h3").sh("ls /etc/systemd/system | grep upkeep || true")
    assert left == "", "the dead-man switch removed itself"
    code, report = controller.json("run", "maintenance", *site.words("targets=h3"))
    assert (code, outcomes(report)) == (0, {"h3": "committed"}), report
