"""Ways in which a host comes to rest after a fault, each judged by the invariants."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic, sleep

from tests.torture import agent, invariants
from tests.torture.host import Host
from upkeep.domain.change import JournalState
from upkeep.hosts.host_change import Order
from upkeep.hosts.host_state import HostState

GUARD_SECONDS = 40.0
_GOING_BACK = {JournalState.ROLLED_BACK, JournalState.ROLLING_BACK}
SOON, LATE = timedelta(seconds=3), timedelta(minutes=5)


def goes_back_alone(host: Host) -> None:
    """The guard acts, without anybody's help."""
    deadline = monotonic() + GUARD_SECONDS
    while not host.left_by_guard():
        assert monotonic() < deadline, f"the guard never acted: {host.state()}"
        sleep(0.2)


def anew(host: Host) -> Host:
    """No release is on the host, as at its first upgrade: every point comes after the same operations."""
    host.machine.sh(f"/bin/rm -rf {agent.RELEASES} {agent.UPKEEP}/incoming; /bin/sync")
    return host


def back(host: Host, order: Order) -> None:
    """Whatever happened, the host is as before the change; twice is as good as once."""
    order = host.locked(order)
    for _ in range(2):
        host.change.roll_back(order, "after the fault", with_state=False)
    invariants.at_rest(host, agent.OLD)


def after_switch(host: Host, order: Order, number: int) -> None:
    """The host is well; then by the point's number: the run resumes and commits, the guard acts, or the run rolls back."""
    if number % 3 == 1 and _will_act(host.state()):
        goes_back_alone(host)
        invariants.at_rest(host, agent.OLD)
    elif invariants.hold(host).journal.state not in _GOING_BACK and number % 3 == 0:
        order = host.locked(order)
        host.change.switch(order)
        host.change.commit(order)
        invariants.at_rest(host, agent.NEW)
    back(host, order)


def _will_act(state: HostState) -> bool:
    return state.journal.state is JournalState.ROLLED_BACK or (state.guard is not None and state.guard.armed)


def dead_man(number: int) -> timedelta:
    """Short where `after_switch` waits for the guard."""
    return SOON if number % 3 == 1 else LATE
