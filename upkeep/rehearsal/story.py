"""One random story of a fleet: troubles at random moments, the end of the run, and then running again until all is well."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.rehearsal.host import NEW
from upkeep.rehearsal.troubles import TROUBLES
from upkeep.rehearsal.world import World

RUNS_UNTIL_WELL = 3


@dataclass
class Story:
    """What was told: which troubles, and what broke a promise."""

    world: World
    troubles: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def tell(plan: Plan, hosts: list[Host], seed: int, *, most_troubles: int = 6) -> Story:
    """Play one story to its end; `violations` is empty when every promise was kept."""
    random = Random(seed)
    world = World(plan, hosts, seed=seed)
    story = Story(world, violations=world.witness.violations)
    for _ in range(random.randint(0, most_troubles)):
        name = random.choice(sorted(TROUBLES))
        at = random.choice([random.uniform(0, 120), random.uniform(0, 3600)])
        world.timeline.after(at, lambda name=name: TROUBLES[name](world, random, "first"))  # type: ignore[misc]
        story.troubles.append(f"{name} at {at:.0f} s")
    world.start("first")
    play_out(world, "first")
    run_until_well(world)
    world.witness.gapless()
    return story


def run_until_well(world: World) -> None:
    """Promise 4: with the faults removed, running again brings every host to the target."""
    world.heal()
    for number in range(RUNS_UNTIL_WELL):
        name = f"again-{number}"
        world.start(name)
        play_out(world, name)
        if all(host.well and host.running == NEW for host in world.hosts.values()):
            return
    left = sorted(h.name for h in world.hosts.values() if not (h.well and h.running == NEW))
    results = {name: world.store.runs[f"again-{RUNS_UNTIL_WELL - 1}"].results.get(name) for name in left[:3]}
    world.witness.violations.append(f"running again does not heal {', '.join(left)}: {results}")


def play_out(world: World, run: str) -> None:
    """Play until nothing happens any more; a run left behind by a dead controller is resumed."""
    for _ in range(20):
        world.play()
        if world.resume(run) is None:
            return
