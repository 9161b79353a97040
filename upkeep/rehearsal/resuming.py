"""Going on after a controller died, from what the history and the hosts know."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from upkeep.domain.engine import Engine, Interrupted
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.rehearsal.store import RunLines


def engine_for(lines: RunLines, plan: Plan, hosts: Iterable[Host], *, fleet_size: int, now: datetime) -> Engine:
    """The engine that goes on; a run whose stages were never frozen has changed nothing and begins anew."""
    if lines.stage_plan is None:
        return Engine(plan, hosts, fleet_size=fleet_size)
    left = Interrupted(
        stage_plan=lines.stage_plan,
        results=dict(lines.results),
        verdicts=tuple(lines.verdicts),
        begun=tuple(name for name in lines.begun if name not in lines.undoing),
        undoing=tuple(lines.undoing.values()),
        down=tuple(lines.down),
        stop=lines.stop,
    )
    return Engine.resumed(plan, hosts, left, now=now, fleet_size=fleet_size)
