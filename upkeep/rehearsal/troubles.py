"""Troubles that come at random moments: what a fleet, a network and a controller do to a run."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from upkeep.rehearsal.host import Behaviour, SimHost
from upkeep.rehearsal.world import World, beyond_limit, no_figure

MINUTE = 60.0

Trouble = Callable[[World, Random, str], None]
"""One trouble, happening now, to the run named."""


def away_for_a_while(world: World, random: Random, _run: str) -> None:
    """A host cannot be reached, and can again later."""
    host = _some_host(world, random)
    host.cut = True
    world.timeline.after(random.uniform(1, 40 * MINUTE), lambda: _reconnect(host))


def away_for_good(world: World, random: Random, _run: str) -> None:
    """A host cannot be reached any more."""
    _some_host(world, random).cut = True


def away_while_switched(world: World, random: Random, _run: str) -> None:
    """A host is cut off between its switch and its commit."""
    switched = [host for host in world.hosts.values() if host.guard_deadline is not None]
    if switched:
        host = random.choice(switched)
        host.cut = True
        world.timeline.after(random.uniform(1, 30 * MINUTE), lambda: _reconnect(host))


def network_split(world: World, random: Random, _run: str) -> None:
    """Half of the fleet cannot be reached for a while."""
    for host in world.hosts.values():
        if random.random() < 0.5:  # noqa: PLR2004 - a coin
            host.cut = True
            world.timeline.after(random.uniform(1, 20 * MINUTE), lambda host=host: _reconnect(host))  # type: ignore[misc]


def reboot(world: World, random: Random, _run: str) -> None:
    """A host loses power and boots again."""
    _some_host(world, random).power_cut()


def reboot_in_work(world: World, random: Random, _run: str) -> None:
    """A host that is between two versions loses power, twice if need be."""
    busy = [host for host in world.hosts.values() if host.guard_deadline is not None] or [_some_host(world, random)]
    host = random.choice(busy)
    host.power_cut(off_for=random.uniform(5, 60))
    world.timeline.after(random.uniform(10, 200), host.power_cut)


def off_for_good(world: World, random: Random, _run: str) -> None:
    """A host loses power and stays off."""
    _some_host(world, random).power_cut(off_for=float("inf"))


def controller_killed(world: World, random: Random, run: str) -> None:
    """The controller gets SIGKILL and is resumed some time later."""
    world.kill(run)
    world.timeline.after(random.choice([1.0, 30.0, 5 * MINUTE, 45 * MINUTE]), lambda: world.resume(run))


def stop_asked(world: World, _random: Random, run: str) -> None:
    """The operator stops the run."""
    for controller in world.controllers:
        if controller.run == run:
            controller.ask_stop("asked by the operator")


def history_full(world: World, random: Random, run: str) -> None:
    """The history cannot be written for a while; the run is resumed when it can be."""
    world.store.refuses = lambda _write: "disk full"

    def writable() -> None:
        world.store.refuses = lambda _write: ""
        world.kill(run)
        world.resume(run)

    world.timeline.after(random.uniform(1, 10 * MINUTE), writable)


def history_hiccup(world: World, random: Random, run: str) -> None:
    """One single write of the history fails."""
    broken = world.store.writes + 1
    world.store.refuses = lambda write: "database is locked" if write == broken else ""
    world.timeline.after(random.uniform(5 * MINUTE, 30 * MINUTE), lambda: world.resume(run))


def second_run(world: World, _random: Random, run: str) -> None:
    """Somebody else starts a run over the same hosts."""
    if f"{run}-other" not in world.store.runs:
        world.start(f"{run}-other")


def clock_jumps(world: World, random: Random, _run: str) -> None:
    """A host's clock jumps by up to a day."""
    _some_host(world, random).clock_skew += random.uniform(-86_400, 86_400)


def release_turns_bad(world: World, random: Random, _run: str) -> None:
    """From now on some hosts do not get well with the new version."""
    for host in world.hosts.values():
        if random.random() < 0.3:  # noqa: PLR2004 - a third
            host.become(
                random.choice(
                    [Behaviour(starts=False), Behaviour(dies_after=random.uniform(1, 1500)), Behaviour(registers=False)]
                )
            )


def rollback_fails(world: World, random: Random, _run: str) -> None:
    """A host does not get well with the new version, and cannot go back either, or not at once."""
    _some_host(world, random).become(Behaviour(starts=False, rollbacks_that_fail=random.choice([1, 2, 1000])))


def disk_full(world: World, random: Random, _run: str) -> None:
    """A host has no room for the backup."""
    _some_host(world, random).behaviour.disk_full = True


def metrics_silent(world: World, _random: Random, _run: str) -> None:
    """The sources of the triggers' figures fall silent."""
    world.figures = no_figure


def metrics_bad(world: World, _random: Random, _run: str) -> None:
    """The triggers' figures are beyond their limits."""
    world.figures = beyond_limit


TROUBLES: dict[str, Trouble] = {
    trouble.__name__: trouble
    for trouble in (
        away_for_a_while,
        away_for_good,
        away_while_switched,
        network_split,
        reboot,
        reboot_in_work,
        off_for_good,
        controller_killed,
        stop_asked,
        history_full,
        history_hiccup,
        second_run,
        clock_jumps,
        release_turns_bad,
        rollback_fails,
        disk_full,
        metrics_silent,
        metrics_bad,
    )
}


def _some_host(world: World, random: Random) -> SimHost:
    return world.hosts[random.choice(sorted(world.hosts))]


def _reconnect(host: SimHost) -> None:
    host.cut = False
