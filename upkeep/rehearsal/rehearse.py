"""A plan rehearsed: one run of the real engine over a simulated copy of the fleet for every fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import Field

from upkeep.domain.change import HostOutcome
from upkeep.domain.document import Document
from upkeep.domain.engine import MayStart, at_any_time
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.stopping import down_allowed
from upkeep.errors import BadInput
from upkeep.rehearsal.faults import FAULTS, RUN, Fault
from upkeep.rehearsal.world import START, World

RESUMED_AT_MOST = 10


class Rehearsed(Document):
    """What came of one fault."""

    fault: str
    what: str
    outcome: str
    reason: str = ""
    broken: int = Field(0, description="Hosts whose agent was of no use at some time, restarts not counted")
    most_down: int = Field(0, description="Most hosts without a working agent at one time, restarts included")
    committed: int = 0
    rolled_back: int = 0
    flagged: int = Field(0, description="Failed, set aside or blocked: a person has to look")
    not_started: int = 0
    took: timedelta = timedelta(0)
    promises_broken: tuple[str, ...] = ()


class Rehearsal(Document):
    """All faults of one rehearsal."""

    plan: str
    hosts: int
    seed: int
    down_allowed: int
    stages: dict[str, int]
    faults: tuple[Rehearsed, ...]

    @property
    def kept_all_promises(self) -> bool:
        """Whether nothing happened that Upkeep promises never to happen."""
        return not any(row.promises_broken for row in self.faults)


def rehearse(
    plan: Plan,
    hosts: Sequence[Host],
    *,
    faults: Iterable[str] = (),
    seed: int = 0,
    begins: datetime = START,
    may_start: MayStart = at_any_time,
) -> Rehearsal:
    """Run the plan over a simulated copy of the hosts, once for every fault named (all of them by default).

    Every run begins at `begins`; `may_start` says at any simulated time why no host may start then.

    Raises:
        BadInput: there is no such fault.
    """
    chosen = [_known(name) for name in dict.fromkeys(faults)] or list(FAULTS.values())
    rows: list[Rehearsed] = []
    stages: dict[str, int] = {}
    for fault in chosen:
        world = _played(World(plan, hosts, seed=seed, begins=begins, may_start=may_start), fault)
        rows.append(_row(world, fault) if world else _left_out(fault))
        if world and world.controllers[0].engine.stage_plan.stages:
            stages = stages or {s.name: len(s.hosts) for s in world.controllers[0].engine.stage_plan.stages}
    return Rehearsal(
        plan=plan.name,
        hosts=len(hosts),
        seed=seed,
        down_allowed=down_allowed(len(hosts), plan.down_budget_pct),
        stages=stages,
        faults=tuple(rows),
    )


def _known(name: str) -> Fault:
    if name not in FAULTS:
        raise BadInput("there is no such fault to rehearse", found=name, allowed=", ".join(FAULTS))
    return FAULTS[name]


def _played(world: World, fault: Fault) -> World | None:
    if fault.needs_triggers and not world.plan.triggers:
        return None
    fault.inject(world)
    world.start(RUN)
    for _ in range(RESUMED_AT_MOST):
        world.play(until=lambda: bool(world.store.runs[RUN].outcome))
        if world.resume(RUN) is None:
            break
    return world


def _left_out(fault: Fault) -> Rehearsed:
    return Rehearsed(fault=fault.name, what=fault.what, outcome="not rehearsed", reason="the plan has no triggers")


def _row(world: World, fault: Fault) -> Rehearsed:
    lines, witness = world.store.runs[RUN], world.witness
    count = Counter(result.outcome for result in lines.results.values())
    return Rehearsed(
        fault=fault.name,
        what=fault.what,
        outcome=lines.outcome.value if lines.outcome else "not finished",
        reason=lines.reason,
        broken=len(witness.ever_broken),
        most_down=witness.most_down,
        committed=count[HostOutcome.COMMITTED] + count[HostOutcome.ALREADY_CURRENT],
        rolled_back=count[HostOutcome.ROLLED_BACK],
        flagged=count[HostOutcome.FAILED] + count[HostOutcome.SET_ASIDE] + count[HostOutcome.BLOCKED],
        not_started=count[HostOutcome.NOT_STARTED],
        took=timedelta(seconds=round(world.timeline.seconds)),
        promises_broken=tuple(witness.violations),
    )
