"""Over how many flow runs the hosts of a run are spread."""

from __future__ import annotations

from upkeep.domain.plan import Plan

HOSTS_PER_SHARD = 200
MOST_BY_ITSELF = 16


def shards_of(plan: Plan, hosts: int) -> int:
    """How many shards the plan asks for with so many hosts; 1: the run's own process does it all."""
    if plan.shards != "auto":
        return min(plan.shards, max(1, hosts))
    return 1 if hosts < HOSTS_PER_SHARD else min(MOST_BY_ITSELF, 1 + hosts // HOSTS_PER_SHARD)
