"""A step struck before each of its operations, the points shared out among several hosts."""

from __future__ import annotations

import queue
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.torture.host import Host
from upkeep.hosts.host_change import Order

_MAY_DIFFER = 3  # a service takes its time to become active, or not


@dataclass(frozen=True)
class Torture:
    """How a step is prepared, done, struck and judged, at the point of a number; `settle` gets what `prepare` gave."""

    prepare: Callable[[Host, int], Order]
    step: Callable[[Host, Order], object]
    strike: Callable[[Host], None]
    settle: Callable[[Host, Order, int, BaseException | None], None]

    def at(self, host: Host, number: int) -> bool:
        """One point; whether the step came so far."""
        order, trap = self.prepare(host, number), host.trap
        reached = trap.spring(number, lambda: self.step(host, order), lambda operation: self.strike(host))
        if reached:
            self.settle(host, order, number, trap.raised)
            return True
        if trap.raised is not None:
            raise trap.raised
        host.install()
        return False


def at_every_point(hosts: Sequence[Host], torture: Torture, *, step: int = 1) -> int:
    """Every point (or every `step`th) of the step; what went wrong is told point by point. Returns how many were struck."""
    operations = operations_of(hosts[0], torture)
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    points = range(1, len(operations) + 1, step)
    for number in points:
        todo.put(number)
    problems: list[str] = []
    struck: list[bool] = []

    def work(host: Host) -> None:
        while not todo.empty() and not problems:
            try:
                number = todo.get_nowait()
            except queue.Empty:
                return
            try:
                struck.append(torture.at(host, number))
            except Exception:  # noqa: BLE001 - told with the point it came from
                problems.append(
                    f"struck before operation {number} ({operations[number - 1]}):\n{traceback.format_exc()}"
                )

    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(work, hosts))
    assert not problems, f"{len(operations)} operations\n" + "\n".join(problems)
    assert sum(struck) >= len(points) - _MAY_DIFFER, f"only {sum(struck)} of {len(points)} operations came"
    return sum(struck)


def operations_of(host: Host, torture: Torture) -> list[str]:
    """What the step does when nobody strikes, in order."""
    order = torture.prepare(host, 0)
    operations = host.trap.log(lambda: torture.step(host, order))
    host.install()
    return operations
