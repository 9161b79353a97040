"""How long one host's change and its way back take, from what was measured or from what the plan allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from upkeep.domain.document import words
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile
from upkeep.domain.stages import StagePlan
from upkeep.domain.stopping import down_allowed

ENOUGH = 5
"""Fewer measured hosts than this say nothing about the slow ones."""


@dataclass(frozen=True)
class HostTime:
    """Time to keep free for one host, from lock to commit, and for its rollback; the sources say where the figures are from."""

    change: timedelta
    rollback: timedelta
    change_source: str
    rollback_source: str

    def __str__(self) -> str:
        """Both figures with their sources."""
        return f"{words(self.change)} for a host ({self.change_source}) and {words(self.rollback)} to go back ({self.rollback_source})"


def host_time(
    plan: Plan, profile: AgentProfile, changes: Sequence[timedelta] = (), rollbacks: Sequence[timedelta] = ()
) -> HostTime:
    """The 95th percentile of what was measured, at least the plan's healthy time; else what plan and profile allow a host."""
    start = profile.service.start_timeout
    change, change_source = _p95(changes) or (
        start + plan.healthy_deadline,
        f"default: start timeout {words(start)} and healthy_deadline {words(plan.healthy_deadline)}",
    )
    rollback, rollback_source = _p95(rollbacks) or (
        2 * start + plan.healthy_time,
        f"default: stop and start, {words(2 * start)}, and healthy_time {words(plan.healthy_time)}",
    )
    return HostTime(max(change, plan.healthy_time), max(rollback, plan.healthy_time), change_source, rollback_source)


def run_time(plan: Plan, stages: StagePlan, fleet_size: int, one_host: timedelta) -> timedelta:
    """How long the stages take when every host takes `one_host`: turns of the down-budget, and soak times."""
    at_once = min(down_allowed(fleet_size, plan.down_budget_pct), plan.at_once)
    turns = sum(-(-len(stage.hosts) // at_once) for stage in stages.stages)
    return turns * one_host + sum((stage.soak for stage in stages.stages), timedelta())


def _p95(measured: Sequence[timedelta]) -> tuple[timedelta, str] | None:
    if len(measured) < ENOUGH:
        return None
    ordered = sorted(measured)
    rank = -(-len(ordered) * 95 // 100)
    whole = timedelta(seconds=-(-ordered[rank - 1].total_seconds() // 1))
    return whole, f"95 % of {len(ordered)} measured took no longer"
