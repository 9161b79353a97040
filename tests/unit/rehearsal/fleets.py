"""Fleets and plans for stories."""

from __future__ import annotations

from random import Random

from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan

TRIGGER = {"name": "errors", "source": {"url": "http://m/x", "json_path": "v"}, "above": 10, "lasting": "2m"}


def plan(**changes: object) -> Plan:
    return Plan.model_validate({"name": "p", "profile": "ms-720", "release": "r.json", **changes})


def random_plan(random: Random) -> Plan:
    then = random.choice(["hold", "roll back stage", "roll back all"])
    return plan(
        down_budget_pct=random.choice([5, 10, 30, 100]),
        at_once=random.choice([1, 3, 50]),
        on_stop=random.choice(["keep", "roll back stage", "roll back all"]),
        stages=random.choice([["canary", "25%", "100%"], ["100%"], [1, 3, "100%"]]),
        seed=random.choice([0, 1]),
        triggers=[{**TRIGGER, "then": then}] if random.random() < 0.3 else [],
    )


def fleet(size: int) -> list[Host]:
    return [
        Host(name=f"h{n:04}", address=f"10.0.{n // 250}.{n % 250 + 1}", labels={"zone": "abc"[n % 3]})
        for n in range(size)
    ]
