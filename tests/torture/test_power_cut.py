"""Power is cut before every operation of every step, on real hosts with a real disk (faults 29; design B2-B6).

What was not synced is lost. After the boot exactly one good version runs, and the host converges: by retry, by rollback, or alone.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.torture import agent, invariants
from tests.torture.host import Host
from tests.torture.points import Torture, at_every_point
from tests.torture.settling import LATE, SOON, after_switch, anew, back, dead_man, goes_back_alone
from upkeep.domain.change import JournalState
from upkeep.hosts.host_change import Order

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1500), pytest.mark.xdist_group("torture")]


def cut(host: Host) -> None:
    host.machine.cut_power()


def settle_switch(host: Host, order: Order, number: int, error: BaseException | None) -> None:
    host.after_power_cut()
    invariants.well_told(error, host)
    after_switch(host, order, number)


def test_cut_anywhere_in_the_switch_a_host_runs_one_version_and_resumes_rolls_back_or_goes_back_alone(
    hosts: list[Host],
) -> None:
    torture = Torture(
        prepare=lambda host, number: anew(host).staged(dead_man=dead_man(number)),
        step=lambda host, order: host.change.switch(order),
        strike=cut,
        settle=settle_switch,
    )
    assert at_every_point(hosts, torture) > 40


def test_cut_anywhere_in_a_rollback_it_is_finished_by_a_repetition_or_by_the_guard(hosts: list[Host]) -> None:
    def settle(host: Host, order: Order, number: int, error: BaseException | None) -> None:
        host.after_power_cut()
        invariants.well_told(error, host)
        if number % 2 == 0:
            invariants.hold(host)
        elif host.state().guard is not None:
            goes_back_alone(host)
            invariants.at_rest(host, agent.OLD)
        back(host, order)

    torture = Torture(
        prepare=lambda host, number: anew(host).switched(dead_man=SOON if number % 2 else LATE),
        step=lambda host, order: host.change.roll_back(order, "back", with_state=True),
        strike=cut,
        settle=settle,
    )
    assert at_every_point(hosts, torture) > 20


def test_cut_anywhere_in_a_commit_the_host_is_committed_or_still_guarded(hosts: list[Host]) -> None:
    def settle(host: Host, order: Order, number: int, error: BaseException | None) -> None:
        host.after_power_cut()
        invariants.hold(host)
        invariants.well_told(error, host)
        order = host.locked(order)
        host.change.commit(order)
        invariants.at_rest(host, agent.NEW)
        back(host, order)

    torture = Torture(
        prepare=lambda host, number: anew(host).switched(),
        step=lambda host, order: host.change.commit(order),
        strike=cut,
        settle=settle,
    )
    assert at_every_point(hosts, torture) > 10


def test_cut_anywhere_before_the_switch_the_old_version_runs_and_every_step_can_be_repeated(hosts: list[Host]) -> None:
    def settle(host: Host, order: Order, number: int, error: BaseException | None) -> None:
        host.after_power_cut()
        invariants.at_rest(host, agent.OLD)
        invariants.well_told(error, host)
        order = host.locked(order)
        host.deliver(order)
        assert invariants.at_rest(host, agent.OLD).journal.state is JournalState.STAGED
        back(host, order)

    torture = Torture(
        prepare=lambda host, number: anew(host).order(),
        step=lambda host, order: host.deliver(host.locked(order)),
        strike=cut,
        settle=settle,
    )
    assert at_every_point(hosts, torture) > 30


def test_cut_anywhere_while_the_guard_puts_a_host_back_the_next_boot_finishes_it(hosts: list[Host]) -> None:
    """The guard is run by hand, in a shell of its own, because its timer can not be waited for at a point."""

    def guard(host: Host, order: Order) -> None:
        host.machine.sh(f"/bin/sh {agent.UPKEEP}/incoming/guard.sh timer </dev/null", timeout_seconds=90)

    def settle(host: Host, order: Order, number: int, error: BaseException | None) -> None:
        host.after_power_cut()
        goes_back_alone(host)
        invariants.at_rest(host, agent.OLD)
        back(host, order)

    torture = Torture(
        prepare=lambda host, number: anew(host).switched(dead_man=timedelta(seconds=8)),
        step=guard,
        strike=cut,
        settle=settle,
    )
    assert at_every_point(hosts, torture) > 20
