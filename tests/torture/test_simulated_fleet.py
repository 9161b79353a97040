"""Simulated fleets under everything at once: thousands of seeded stories, and every operation failing in its turn (issue 3; J).

`UPKEEP_SEED=N` tells the story of one seed again; `UPKEEP_STORIES=N` tells so many of them (default 3000).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random, SystemRandom

import pytest

from tests.unit.rehearsal.fleets import fleet, plan, random_plan
from upkeep.domain.change import JournalState
from upkeep.rehearsal.host import Behaviour, SimHost
from upkeep.rehearsal.story import Story, play_out, run_until_well, tell
from upkeep.rehearsal.world import World

SEED = os.environ.get("UPKEEP_SEED", "")
STORIES = int(os.environ.get("UPKEEP_STORIES", "3000"))
CHUNKS = 30
FIRST = int(SEED) if SEED else SystemRandom().randrange(10**9)


def told(seed: int) -> Story:
    random = Random(seed)
    size = random.randint(1, 60)
    return tell(random_plan(random), fleet(size), seed, most_troubles=8)


@pytest.mark.parametrize("chunk", range(1 if SEED else CHUNKS))
def test_thousands_of_random_stories_end_well(chunk: int) -> None:
    count = 1 if SEED else STORIES // CHUNKS
    for seed in range(FIRST + chunk * count, FIRST + (chunk + 1) * count):
        story = told(seed)
        assert not story.violations, f"UPKEEP_SEED={seed} {story.troubles}: {story.violations[:5]}"


@pytest.mark.parametrize("number", range(4))
def test_a_fleet_of_a_thousand_hosts_ends_well(number: int) -> None:
    seed = FIRST + number
    story = tell(random_plan(Random(seed)), fleet(1000), seed, most_troubles=20)
    assert not story.violations, f"UPKEEP_SEED={seed} {story.troubles}: {story.violations[:5]}"


def small_world(seed: int = 0) -> World:
    """Four hosts in two stages, one of them with a bad version: every way there and back is taken."""
    made = plan(stages=[1, "100%"], down_budget_pct=60, failures={"canary": {"at_least": 2}, "later": {"at_least": 2}})
    return World(made, fleet(4), seed=seed, behaviours={"h0002": Behaviour(dies_after=30)})


def play_until(world: World, moment: int) -> None:
    """Play until so many things have happened, or the run is over."""
    world.play(until=lambda: world.timeline.happened >= moment or not world.lives("r"))


def end_well(world: World, what: str) -> None:
    play_out(world, "r")
    assert "r" not in world.store.runs or world.store.runs["r"].outcome, f"{what}: the run is not over"
    run_until_well(world)
    world.witness.gapless()
    assert not world.witness.violations, f"{what}: {world.witness.violations[:5]}"


def once(nth: int, how: str) -> Callable[[int, SimHost], str]:
    return lambda call, _host: how if call == nth else ""


def from_then_on(nth: int, how: str) -> Callable[[int, SimHost], str]:
    """The host of the Nth call answers no more, ever."""
    gone: list[str] = []

    def loses(call: int, host: SimHost) -> str:
        if call == nth:
            gone.append(host.name)
        return how if host.name in gone else ""

    return loses


@pytest.mark.parametrize("lasting", [once, from_then_on])
@pytest.mark.parametrize("how", ["call", "answer"])
def test_every_call_to_a_host_can_fail(lasting: Callable[[int, str], Callable[[int, SimHost], str]], how: str) -> None:
    nth = 0
    while True:
        nth += 1
        world = small_world()
        world.network.loses = lasting(nth, how)
        world.start("r")
        play_out(world, "r")
        calls = world.network.calls
        end_well(world, f"{lasting.__name__}, {how} {nth} of {calls} lost")
        if nth > calls:
            return


@pytest.mark.parametrize("lasts", [1, 10_000])
def test_every_write_of_the_history_can_fail(lasts: int) -> None:
    nth = 0
    while True:
        nth += 1
        world = small_world()
        broken = range(nth, nth + lasts)
        world.store.refuses = lambda write, broken=broken: "disk full" if write in broken else ""  # type: ignore[misc]
        world.start("r")
        world.play()
        lines, writes = len(world.store.lines), world.store.writes
        assert lasts == 1 or lines < nth, "nothing is written once the history is full"
        world.store.refuses = lambda _write: ""
        end_well(world, f"write {nth} of {writes} failed, {lasts} times")
        if nth > writes:
            return


@pytest.mark.parametrize("away", [1.0, 30.0, 300.0, 3000.0], ids=lambda seconds: f"back after {seconds:.0f} s")
def test_the_controller_can_be_killed_at_every_moment(away: float) -> None:
    moment = 0
    while True:
        moment += 1
        world = small_world(seed=moment)
        world.start("r")
        play_until(world, moment)
        if not world.lives("r"):
            return
        world.kill("r")
        world.timeline.after(away, lambda world=world: world.resume("r"))  # type: ignore[misc]
        end_well(world, f"killed after event {moment}, back after {away:.0f} s")


@pytest.mark.parametrize("stays_off", [10.0, 1000.0], ids=lambda seconds: f"off for {seconds:.0f} s")
def test_a_host_can_lose_power_at_every_moment_of_its_change(stays_off: float) -> None:
    moment = 0
    while True:
        moment += 1
        world = small_world(seed=moment)
        world.start("r")
        play_until(world, moment)
        if not world.lives("r"):
            return
        busy = [h for h in world.hosts.values() if h.journal.state is not JournalState.NONE] or [world.hosts["h0000"]]
        busy[-1].power_cut(off_for=stays_off)
        end_well(world, f"{busy[-1].name} lost power after event {moment}")
