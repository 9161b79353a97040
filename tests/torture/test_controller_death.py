"""The controller dies, or the host is parted from it, at every operation (faults 28, 30, 43, 46).

The script on the host then either goes on to its end or dies as well; both are tried.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.torture import agent, controller, invariants
from tests.torture.host import Host
from tests.torture.points import Torture, at_every_point
from tests.torture.settling import SOON, after_switch, anew, back, dead_man, goes_back_alone
from upkeep.domain.change import JournalState
from upkeep.errors import HostError, Unreachable
from upkeep.hosts.host_change import Order
from upkeep.lab.machines import faults

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1500), pytest.mark.xdist_group("torture")]


def script_survives(host: Host) -> None:
    host.hang_up()
    host.trap.let_go()
    host.trap.await_end()


def script_dies(host: Host) -> None:
    host.hang_up()
    host.trap.kill()


@pytest.mark.parametrize("death", [script_survives, script_dies])
def test_the_connection_breaks_anywhere_in_the_switch(hosts: list[Host], death) -> None:
    def settle(host: Host, order: Order, number: int, error: BaseException | None) -> None:
        assert isinstance(error, HostError)
        invariants.well_told(error, host)
        after_switch(host, order, number)

    torture = Torture(
        prepare=lambda host, number: anew(host).staged(dead_man=dead_man(number)),
        step=lambda host, order: host.change.switch(order),
        strike=death,
        settle=settle,
    )
    assert at_every_point(hosts, torture, step=2) > 20


@pytest.mark.parametrize("death", [script_survives, script_dies])
def test_the_connection_breaks_anywhere_in_a_rollback(hosts: list[Host], death) -> None:
    def settle(host: Host, order: Order, number: int, error: BaseException | None) -> None:
        assert isinstance(error, HostError)
        if number % 2 and host.state().guard is not None:
            goes_back_alone(host)
            invariants.at_rest(host, agent.OLD)
        back(host, order)

    torture = Torture(
        prepare=lambda host, number: anew(host).switched(dead_man=SOON),
        step=lambda host, order: host.change.roll_back(order, "back", with_state=True),
        strike=death,
        settle=settle,
    )
    assert at_every_point(hosts, torture, step=3) > 8


def test_a_killed_controller_process_leaves_hosts_that_finish_the_switch_or_are_put_back(hosts: list[Host]) -> None:
    running = {}

    def step(host: Host, order: Order) -> None:
        running[host.name] = controller.start(host, order, "switch")
        running[host.name].wait()

    def strike(host: Host) -> None:
        os.kill(running[host.name].pid, signal.SIGKILL)
        host.trap.let_go()
        host.hang_up()  # the shell that this process keeps on the host waits for more
        host.trap.await_end()

    torture = Torture(
        prepare=lambda host, number: anew(host).staged(dead_man=dead_man(number)),
        step=step,
        strike=strike,
        settle=lambda host, order, number, error: after_switch(host, order, number),
    )
    assert at_every_point(hosts, torture, step=4) > 10


def test_parted_before_the_switch_nothing_happens_and_the_run_can_go_on_when_it_is_healed(host: Host) -> None:
    order = host.staged()
    host.hang_up()
    faults.cut(host.machine)
    with pytest.raises(Unreachable, match=f"{host.name}: "):
        host.change.switch(order)
    faults.heal(host.machine)
    assert invariants.at_rest(host, agent.OLD).journal.state is JournalState.STAGED
    after_switch(host, order, 0)


def test_parted_in_the_switch_the_host_goes_back_alone_and_the_late_commit_is_refused(hosts: list[Host]) -> None:
    def strike(host: Host) -> None:
        faults.cut(host.machine)
        host.trap.let_go()  # the shell itself stays: it cannot know that nobody is there any more
        host.machine.sh(f"until grep -q state=rolled-back {agent.UPKEEP}/journal; do sleep 0.1; done")
        faults.heal(host.machine)
        host.hang_up()

    def settle(host: Host, order: Order, number: int, error: BaseException | None) -> None:
        goes_back_alone(host)
        with pytest.raises(HostError, match="rolled-back.*by the guard: no commit within 3 s"):
            host.change.commit(order)
        invariants.at_rest(host, agent.OLD)

    torture = Torture(
        prepare=lambda host, number: anew(host).staged(dead_man=SOON),
        step=lambda host, order: host.change.switch(order),
        strike=strike,
        settle=settle,
    )
    order = torture.prepare(hosts[0], 0)
    operations = hosts[0].trap.log(lambda: torture.step(hosts[0], order))
    hosts[0].install()
    link = 1 + next(
        n for n, done in enumerate(operations) if done.startswith("mv") and done.endswith(f" {agent.BINARY}")
    )
    assert torture.at(hosts[0], link), operations
    assert torture.at(hosts[1], link + 1), operations
    assert torture.at(hosts[2], len(operations)), operations


def test_parted_after_the_switch_the_host_goes_back_alone_and_the_late_commit_is_refused(host: Host) -> None:
    order = host.switched(dead_man=SOON)
    faults.cut(host.machine)
    host.machine.sh(f"until grep -q state=rolled-back {agent.UPKEEP}/journal; do sleep 0.1; done")
    faults.heal(host.machine)
    host.hang_up()
    goes_back_alone(host)
    with pytest.raises(HostError, match="rolled-back.*by the guard"):
        host.change.commit(order)
    invariants.at_rest(host, agent.OLD)


@pytest.mark.parametrize("state", ["before", "after"])
def test_rebooted_around_the_switch_the_old_version_comes_back_unless_it_is_committed(host: Host, state: str) -> None:
    order = host.staged(dead_man=SOON) if state == "before" else host.switched(dead_man=SOON)
    host.hang_up()
    host.machine.reboot()
    if state == "after":
        goes_back_alone(host)
    invariants.at_rest(host, agent.OLD)
    back(host, order)


def test_rebooted_anywhere_in_the_switch(hosts: list[Host]) -> None:
    def strike(host: Host) -> None:
        host.hang_up()
        host.machine.reboot()

    torture = Torture(
        prepare=lambda host, number: anew(host).staged(dead_man=dead_man(number)),
        step=lambda host, order: host.change.switch(order),
        strike=strike,
        settle=lambda host, order, number, error: after_switch(host, order, number),
    )
    assert at_every_point(hosts, torture, step=4) > 10
