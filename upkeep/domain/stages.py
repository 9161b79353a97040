"""Stage planning: which hosts go when.

The canary is stratified: at least one host of every cohort, because a fault of one small cohort passes every percentage threshold
on its way to the whole fleet. The same plan, hosts and seed always give the same stages.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, count, zip_longest

from pydantic import Field

from upkeep.domain.document import Document
from upkeep.domain.inventory import Host
from upkeep.domain.plan import CanarySize, Plan, Stage
from upkeep.domain.selector import Selector
from upkeep.errors import BadInput


@dataclass(frozen=True)
class Candidate:
    """A host that may be changed, with the cohort it belongs to."""

    host: Host
    cohort: str

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host.name


class PlannedStage(Document):
    """One stage with its hosts in the order of their turns."""

    name: str
    hosts: tuple[str, ...]
    soak: timedelta
    is_canary: bool = False
    cohorts: tuple[str, ...] = Field((), description="Cohorts that have a host in this stage")


class StagePlan(Document):
    """All stages of a run, and what a reader should know about them."""

    stages: tuple[PlannedStage, ...]
    notes: tuple[str, ...] = ()


def plan_stages(plan: Plan, candidates: Iterable[Candidate]) -> StagePlan:
    """Share the candidates out over the plan's stages; stages without hosts are left out and noted.

    Raises:
        BadInput: the stages do not reach every candidate.
    """
    everyone = ordered(candidates, plan.seed)
    left = list(everyone)
    stages: list[PlannedStage] = []
    notes: list[str] = []
    for stage in plan.stages:
        chosen = _choose(stage, left, total=len(everyone), notes=notes)
        names = {c.name for c in chosen}
        left = [c for c in left if c.name not in names]
        if not chosen:
            notes.append(f"stage '{stage.title}' has no hosts left and is passed over")
            continue
        stages.append(_planned(plan, stage, chosen, taken={s.name for s in stages}))
    if left:
        raise BadInput(
            f"the stages never reach {len(left)} of {len(everyone)} hosts: {_some(c.name for c in left)}",
            allowed="stages that reach every target",
            remedy="end the list of stages with 100%, or narrow targets",
        )
    return StagePlan(stages=tuple(stages), notes=tuple(notes))


def ordered(candidates: Iterable[Candidate], seed: int = 0) -> list[Candidate]:
    """Candidates by cohort and name; with a seed other than 0 shuffled within each cohort, the same way every time."""
    cohorts: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda c: (c.cohort, c.name)):
        cohorts[candidate.cohort].append(candidate)
    if seed:
        for cohort, members in cohorts.items():
            random.Random(f"{seed}:{cohort}").shuffle(members)  # noqa: S311 - an order, not a secret
    return [member for cohort in sorted(cohorts) for member in cohorts[cohort]]


def canary_size(size: CanarySize, *, hosts: int, cohorts: int) -> int:
    """How many hosts the canary takes: max(cohorts x per_cohort, pct, at_least), at most the share, at least one."""
    wanted = max(cohorts * size.per_cohort, share_of(hosts, size.pct), size.at_least)
    return min(hosts, max(1, math.floor(hosts * size.at_most_share + 1e-9)), wanted)


def share_of(hosts: int, pct: float) -> int:
    """`pct` per cent of `hosts`, rounded up."""
    return math.ceil(hosts * pct / 100 - 1e-9)


def spread(candidates: Sequence[Candidate], label: str) -> list[Candidate]:
    """The same hosts, failure domains taking turns, so that hosts in work at once are not all of one domain."""
    domains: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        domains[candidate.host.labels.get(label, "")].append(candidate)
    turns = zip_longest(*(domains[name] for name in sorted(domains)))
    return [candidate for candidate in chain.from_iterable(turns) if candidate is not None]


def _choose(stage: Stage, left: list[Candidate], *, total: int, notes: list[str]) -> list[Candidate]:
    if stage.canary is not None:
        return _canary(stage.canary, left, notes)
    if stage.hosts is not None:
        selector = Selector(stage.hosts)
        return [c for c in left if selector.matches(c.host)]
    if stage.count is not None:
        return left[: stage.count]
    done = total - len(left)
    return left[: max(0, share_of(total, stage.pct or 0) - done)]


def _canary(size: CanarySize, left: list[Candidate], notes: list[str]) -> list[Candidate]:
    cohorts: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in left:
        cohorts[candidate.cohort].append(candidate)
    largest_first = sorted(cohorts.values(), key=lambda members: (-len(members), members[0].cohort))
    turns = [c for c in chain.from_iterable(zip_longest(*largest_first)) if c is not None]
    chosen = turns[: canary_size(size, hosts=len(left), cohorts=len(cohorts))]
    missing = sorted(set(cohorts) - {c.cohort for c in chosen})
    if missing:
        notes.append(
            f"the canary holds no host of {len(missing)} of {len(cohorts)} cohorts ({_some(missing)}): a fault of theirs shows only later"
        )
    return chosen


def _planned(plan: Plan, stage: Stage, chosen: list[Candidate], *, taken: set[str]) -> PlannedStage:
    titles = chain([stage.title], (f"{stage.title} ({n})" for n in count(2)))
    return PlannedStage(
        name=next(title for title in titles if title not in taken),
        hosts=tuple(c.name for c in spread(chosen, plan.spread_by)),
        soak=plan.soak_of(stage),
        is_canary=stage.canary is not None,
        cohorts=tuple(sorted({c.cohort for c in chosen})),
    )


def _some(names: Iterable[str], limit: int = 5) -> str:
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
