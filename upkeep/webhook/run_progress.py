"""How far a run is: its stages, planned and begun, and its steps over all hosts."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from upkeep.audit.approvals import waits_for
from upkeep.audit.browsing import Browsing, HostSearch
from upkeep.audit.history import History
from upkeep.audit.reading import Asked, StageDetail
from upkeep.domain.change import HostOutcome, Step
from upkeep.domain.explain import explain
from upkeep.domain.stages import PlannedStage

KEPT_RECORDS = 32
_NO_RUN = "-"


@dataclass(frozen=True)
class Frozen:
    """What does not change any more once a run's stages are planned."""

    record: Asked
    sentences: tuple[str, ...]
    planned: tuple[PlannedStage, ...]


@dataclass(frozen=True)
class StageProgress:
    """One stage; `began` is None while it waits for its turn."""

    name: str
    hosts: int
    outcomes: dict[str, int]
    began: StageDetail | None = None

    @property
    def state(self) -> str:
        """In a word: waiting, running, or its verdict."""
        if self.began is None:
            return "waiting"
        return self.began.verdict or "running"


@dataclass(frozen=True)
class RunProgress:
    """All of it; `outcomes` counts every target, also those nobody has touched yet."""

    targets: int
    outcomes: dict[str, int]
    stages: tuple[StageProgress, ...]
    steps: dict[Step, dict[str, int]]

    @property
    def done(self) -> int:
        """Hosts with an outcome."""
        return sum(number for outcome, number in self.outcomes.items() if outcome not in {"open", "waiting"})


def frozen(history: Browsing, run_id: str) -> Frozen:
    """A run's record and plan; each read once per run and kept, since neither changes."""
    story = _planned(history, run_id)
    if not story.planned:
        _planned.cache_clear()  # its plan may be there the next time
    return story


@functools.lru_cache(maxsize=KEPT_RECORDS)
def asked(history: Browsing, run_id: str) -> Asked:
    """What a run was opened with; read once per run and kept."""
    return history.asked(run_id)


@functools.lru_cache(maxsize=KEPT_RECORDS)
def _planned(history: Browsing, run_id: str) -> Frozen:
    record, plan = asked(history, run_id), history.stage_plan(run_id)
    if plan is None:
        return Frozen(record, (), ())
    size = record.fleet_size or len(record.targets)
    return Frozen(record, tuple(explain(record.plan, plan, release=record.release, fleet_size=size)), plan.stages)


def rehearse(history: History) -> None:
    """Ask all that a run's page and approvals ask, of no run: statements are made ready, and a connection is open, before anybody visits.

    Raises:
        AuditError: the database cannot be used.
    """
    history.run_line(_NO_RUN)
    history.last_seq(_NO_RUN)
    history.stage_plan(_NO_RUN)
    history.objections(_NO_RUN)
    history.matrix(_NO_RUN, HostSearch())
    history.outcomes_of(_NO_RUN)
    history.stages_of(_NO_RUN)
    history.step_counts(_NO_RUN)
    history.open_lines()
    waits_for(history, _NO_RUN)


def progress(history: Browsing, run_id: str, story: Frozen) -> RunProgress:
    """How far the run is now, by three queries."""
    by_stage = history.outcomes_of(run_id)
    began = {stage.name: stage for stage in history.stages_of(run_id)}
    sizes = {stage.name: len(stage.hosts) for stage in story.planned}
    sizes |= {name: len(stage.hosts) for name, stage in began.items()}
    stages = [StageProgress(name, size, by_stage.get(name, {}), began.get(name)) for name, size in sizes.items()]
    outcomes = _totals(by_stage, len(story.record.targets))
    counts = history.step_counts(run_id)
    steps = {step: counts[step.value] for step in Step if step.value in counts}
    return RunProgress(len(story.record.targets), outcomes, tuple(stages), steps)


def _totals(by_stage: dict[str, dict[str, int]], targets: int) -> dict[str, int]:
    totals: dict[str, int] = {}
    for outcomes in by_stage.values():
        for outcome, number in outcomes.items():
            totals[outcome] = totals.get(outcome, 0) + number
    waiting = targets - sum(totals.values())
    if waiting > 0:
        totals["waiting"] = waiting
    order = [outcome.value for outcome in HostOutcome]
    return dict(sorted(totals.items(), key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order)))
