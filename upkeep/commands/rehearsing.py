"""`upkeep rehearse`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from upkeep.commands.planning import inventory_of, judged_stages
from upkeep.commands.windows import outlook
from upkeep.console.screen import coloured, screen
from upkeep.documents import load_inventory, load_plan
from upkeep.domain.document import words
from upkeep.domain.engine import MayStart, at_any_time
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.selector import Selector
from upkeep.errors import BadInput, Refused
from upkeep.rehearsal.rehearse import Rehearsal, rehearse
from upkeep.rehearsal.world import START

COLUMNS = ("fault", "outcome", "broken", "most down", "new", "back", "flagged", "not started", "took", "why")


def rehearse_plan(
    path: Path, inventory: str, overrides: Mapping[str, str], *, faults: Sequence[str], seed: int, as_json: bool
) -> int:
    """Rehearse the plan and print what came of it; 0, or 1 when a promise of Upkeep itself was broken.

    Raises:
        BadInput: plan, inventory or fault cannot be used.
    """
    plan = load_plan(path, overrides)
    hosts = Selector(plan.targets).pick(load_inventory(inventory_of(path, inventory)).all_hosts())
    if not hosts:
        raise BadInput("targets matches no host", found=plan.targets, remedy="check the selector against the inventory")
    judged_stages(plan, hosts)
    hours = _hours(path, plan, tuple(hosts))
    rehearsal = rehearse(plan, hosts, faults=faults, seed=seed, begins=hours.begins, may_start=hours.may_start)
    if as_json:
        sys.stdout.write(rehearsal.model_dump_json(indent=2) + "\n")
    else:
        _show(rehearsal, hours)
    return 0 if rehearsal.kept_all_promises else 1


@dataclass(frozen=True)
class _Hours:
    """When the rehearsed run begins, and when no host may start."""

    begins: datetime = START
    may_start: MayStart = at_any_time
    told: str = ""


def _hours(path: Path, plan: Plan, hosts: tuple[Host, ...]) -> _Hours:
    """The window that is open now or opens next, as a run would be bound by it.

    Raises:
        Refused: it never opens, or a calendar cannot be read.
    """
    if not (plan.window or plan.freezes):
        return _Hours()
    seen = outlook(path, plan, hosts)
    schedule, time = seen.schedule, seen.time
    span = next(iter(schedule.openings(seen.now, 1)), None)
    if span is None or time is None:
        raise Refused(f"a run could not start: {schedule.decide(seen.now).reason}", remedy="see upkeep windows PLAN")
    begins = max(span.start, seen.now)
    return _Hours(
        begins,
        lambda now: schedule.refusal(now, time.change, time.rollback),
        f"begins {schedule.told(begins)}, and its window closes {schedule.told(span.end)}",
    )


def _show(rehearsal: Rehearsal, hours: _Hours) -> None:
    console = screen()
    stages = ", ".join(f"{name}: {hosts}" for name, hosts in rehearsal.stages.items()) or "none reached"
    console.print(
        f"plan '{rehearsal.plan}' against a simulated copy of {rehearsal.hosts} hosts (seed {rehearsal.seed}); no host was touched",
        markup=False,
    )
    console.print(f"stages: {stages}; at most {rehearsal.down_allowed} may be down at once\n", markup=False)
    if hours.told:
        console.print(f"every run {hours.told}\n", markup=False)
    console.print(_table(rehearsal))
    console.print(
        "\nbroken: hosts whose agent was of no use at some time; most down: at one time, restarts included; "
        "flagged: a person has to look",
        markup=False,
    )
    for row in rehearsal.faults:
        for promise in row.promises_broken[:5]:
            console.print(f"a promise was broken, please report this: {row.fault}: {promise}", markup=False)


def _table(rehearsal: Rehearsal) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in COLUMNS:
        number = column in COLUMNS[2:8]
        table.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=column != "why")
    for row in rehearsal.faults:
        figures = (row.broken, row.most_down, row.committed, row.rolled_back, row.flagged, row.not_started)
        was_run = row.outcome != "not rehearsed"
        table.add_row(
            row.fault,
            coloured(row.outcome),
            *(str(figure) if was_run else "" for figure in figures),
            words(row.took) if was_run else "",
            escape(_why(row.reason)),
        )
    return table


def _why(reason: str) -> str:
    """The first sentence, or what the last look found."""
    first, _, rest = reason.partition(";")
    return rest.strip() if "not well at the last look" in rest else first
