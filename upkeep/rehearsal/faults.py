"""The faults a plan is rehearsed with, by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from upkeep.domain.change import JournalState
from upkeep.domain.stages import share_of
from upkeep.rehearsal.host import Behaviour, SimHost
from upkeep.rehearsal.world import World, beyond_limit, no_figure

RUN = "rehearsal"
LOOKED_FOR_EVERY_SECONDS = 2.0


@dataclass(frozen=True)
class Fault:
    """One fault; `inject` prepares a world in which the run has not begun yet."""

    name: str
    what: str
    inject: Callable[[World], None]
    needs_triggers: bool = False


def _nothing(_world: World) -> None:
    return


def _bad_release(world: World) -> None:
    _all_become(world.hosts.values(), lambda: Behaviour(starts=False))


def _bad_on_one_cohort(world: World) -> None:
    cohorts: dict[str, list[SimHost]] = defaultdict(list)
    for name, host in world.inventory.items():
        cohorts[host.labels.get(world.plan.spread_by, "")].append(world.hosts[name])
    smallest = min(cohorts.values(), key=len)
    _all_become(smallest if len(cohorts) > 1 else _share(world, 10), lambda: Behaviour(starts=False))


def _never_registers(world: World) -> None:
    _all_become(world.hosts.values(), lambda: Behaviour(registers=False))


def _dies_in_soak(world: World) -> None:
    soak = world.plan.soak_of(world.plan.stages[0])
    seconds = (world.plan.healthy_time + soak / 2).total_seconds() + 1
    _all_become(world.hosts.values(), lambda: Behaviour(dies_after=seconds))


def _dies_after_soak(world: World) -> None:
    soak = world.plan.soak_of(world.plan.stages[0])
    seconds = (world.plan.healthy_time + soak).total_seconds() + 60
    _all_become(world.hosts.values(), lambda: Behaviour(dies_after=seconds))


def _unreachable(world: World) -> None:
    for number, host in enumerate(_share(world, 5)):
        if number % 2 == 0:
            host.cut = True
        else:
            world.timeline.after(world.random.uniform(60, 3600), lambda host=host: _cut(host))  # type: ignore[misc]


def _cut_while_switched(world: World) -> None:
    def cut(host: SimHost) -> None:
        _cut(host)
        world.timeline.after(2 * world.plan.dead_man.total_seconds(), lambda: _reconnect(host))

    _at_first_switch(world, cut)


def _power_cut_while_switched(world: World) -> None:
    _at_first_switch(world, lambda host: host.power_cut())


def _controller_killed(world: World) -> None:
    def kill(_host: SimHost) -> None:
        world.kill(RUN)
        world.timeline.after(2 * world.plan.dead_man.total_seconds(), lambda: world.resume(RUN))

    _at_first_switch(world, kill, of_last_stage=True)


def _rollback_fails(world: World) -> None:
    _all_become(_share(world, 0.001), lambda: Behaviour(starts=False, rollbacks_that_fail=1000))


def _disk_full(world: World) -> None:
    _all_become(_share(world, 10), lambda: Behaviour(disk_full=True))


def _history_full(world: World) -> None:
    def writable() -> None:
        world.store.refuses = lambda _write: ""
        world.kill(RUN)
        world.resume(RUN)

    def full(_host: SimHost) -> None:
        world.store.refuses = lambda _write: "no space left on device"
        world.timeline.after(2 * world.plan.dead_man.total_seconds(), writable)

    _at_first_switch(world, full, of_last_stage=True)


def _metrics_silent(world: World) -> None:
    world.figures = no_figure


def _metrics_bad(world: World) -> None:
    world.figures = beyond_limit


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("none", "nothing goes wrong", _nothing),
        Fault("bad-release", "the new version starts nowhere", _bad_release),
        Fault("bad-on-one-cohort", "the new version does not start in the smallest failure domain", _bad_on_one_cohort),
        Fault("never-registers", "the new version runs and never registers at its control centre", _never_registers),
        Fault("dies-in-soak", "the new version dies while the first stage is watched", _dies_in_soak),
        Fault("dies-after-soak", "the new version dies a minute after a canary host's soak time", _dies_after_soak),
        Fault("unreachable-5pct", "5 % of the hosts cannot be reached, half of them only later", _unreachable),
        Fault("cut-while-switched", "a host is cut off right after its switch", _cut_while_switched),
        Fault("power-cut-while-switched", "a host restarts right after its switch", _power_cut_while_switched),
        Fault("controller-killed", "the controller is killed in the last stage and resumed later", _controller_killed),
        Fault("history-full", "the history cannot be written in the last stage, later it can", _history_full),
        Fault("rollback-fails", "one host gets bad and cannot go back", _rollback_fails),
        Fault("disk-full", "10 % of the hosts have no room for the backup", _disk_full),
        Fault("metrics-silent", "the triggers' sources give no figures", _metrics_silent, needs_triggers=True),
        Fault("metrics-bad", "the triggers' figures are beyond their limits", _metrics_bad, needs_triggers=True),
    )
}


def _share(world: World, pct: float) -> list[SimHost]:
    """So many per cent of the hosts, at least one, picked by the seed."""
    return world.random.sample(list(world.hosts.values()), max(1, share_of(len(world.hosts), pct)))


def _all_become(hosts: Iterable[SimHost], behaviour: Callable[[], Behaviour]) -> None:
    for host in hosts:
        host.become(behaviour())


def _at_first_switch(world: World, act: Callable[[SimHost], None], *, of_last_stage: bool = False) -> None:
    """Let `act` happen to the first host seen between its switch and its commit."""

    def look() -> None:
        controller = world.controllers[0]
        stages = controller.engine.stage_plan.stages
        wanted = stages[-1].hosts if stages and of_last_stage else tuple(world.hosts)
        switched = [name for name in wanted if world.hosts[name].journal.state is JournalState.SWITCHED]
        if switched:
            act(world.hosts[switched[0]])
        elif controller.alive:
            world.timeline.after(LOOKED_FOR_EVERY_SECONDS, look)

    world.timeline.after(LOOKED_FOR_EVERY_SECONDS, look)


def _cut(host: SimHost) -> None:
    host.cut = True


def _reconnect(host: SimHost) -> None:
    host.cut = False
