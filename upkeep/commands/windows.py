"""`upkeep windows PLAN`: whether it may run now, until when, why not, and when next."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from upkeep.commands.planning import inventory_of, judged_stages
from upkeep.console.screen import screen
from upkeep.documents import load_inventory, load_plan, load_profile
from upkeep.domain.fit import Needs, fit, fit_sentence
from upkeep.domain.host_time import HostTime, host_time
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.schedule import Schedule, Span
from upkeep.domain.selector import Selector
from upkeep.errors import BadInput
from upkeep.project import put_on_path
from upkeep.services.calendars import Calendars
from upkeep.wiring import site


@dataclass(frozen=True)
class Outlook:
    """A plan's windows and what its run needs of them; `needs` is None without an inventory."""

    schedule: Schedule
    now: datetime
    time: HostTime | None = None
    needs: Needs | None = None


def show_windows(path: Path, inventory: str, overrides: Mapping[str, str], *, count: int, as_json: bool) -> None:
    """Print how things stand and the next `count` openings."""
    plan = load_plan(path, overrides)
    seen = outlook(path, plan, _targets(path, plan, inventory))
    if as_json:
        sys.stdout.write(json.dumps(_as_data(plan, seen, count), indent=2) + "\n")
        return
    console = screen()
    for line in [*_now(seen), *_openings(seen, count), *_self_start(path, plan), *fit_lines(seen)]:
        console.print(line, markup=False)


def outlook(path: Path, plan: Plan, hosts: tuple[Host, ...]) -> Outlook:
    """The calendars, read now, and what a run over these hosts needs."""
    now = datetime.now(UTC)
    schedule = Calendars(plan, path.absolute().parent).schedule(now)
    if not hosts or not schedule.binds:
        return Outlook(schedule, now)
    time = _measured(path, plan, hosts)
    return Outlook(schedule, now, time, Needs.of(plan, judged_stages(plan, hosts), len(hosts), time))


def fit_lines(seen: Outlook) -> list[str]:
    """Whether the plan fits, and from which figures that is reckoned."""
    if seen.needs is None or seen.time is None:
        return [] if seen.schedule.binds else ["The plan has no window and no freezes: it may run at any time."]
    return [fit_sentence(seen.schedule, seen.now, seen.needs), f"Kept free before the end of a window: {seen.time}."]


def _measured(path: Path, plan: Plan, hosts: tuple[Host, ...]) -> HostTime:
    put_on_path()
    from tasks.keep_windows import BOUND  # noqa: PLC0415 - the runbooks are on the path only now

    times = site().history.step_times(BOUND, {host.name for host in hosts})
    return host_time(plan, load_profile(plan.profile, path), times.changes, times.rollbacks)


def _targets(path: Path, plan: Plan, inventory: str) -> tuple[Host, ...]:
    """The plan's hosts; none where no inventory was named and none lies beside the plan."""
    try:
        file = inventory_of(path, inventory)
    except BadInput:
        return ()
    return tuple(Selector(plan.targets).pick(load_inventory(file).all_hosts()))


def _now(seen: Outlook) -> list[str]:
    standing, schedule = seen.schedule.decide(seen.now), seen.schedule
    if not standing.open:
        return [f"Closed now: {standing.reason}."]
    if standing.closes_at is None or standing.cutoff_at is None:
        return ["Open now."] if schedule.binds else []
    late = (
        "" if standing.cutoff_at == standing.closes_at else f"; no new host from {schedule.told(standing.cutoff_at)} on"
    )
    return [f"Open now, until {schedule.told(standing.closes_at)}{late}."]


def _openings(seen: Outlook, count: int) -> list[str]:
    schedule = seen.schedule
    spans = [span for span in schedule.openings(seen.now, count + 1) if span.start > seen.now][:count]
    return [f"Opens {schedule.told(span.start)}, closes {schedule.told(span.end)}." for span in spans]


def _self_start(path: Path, plan: Plan) -> list[str]:
    """Who starts it when a window opens."""
    if plan.schedule is None:
        return []
    if path.absolute().parent in site().settings.plans:
        return [f"Starts {plan.schedule.runbook} by itself whenever its window opens."]
    folders = ", ".join(map(str, site().settings.plans))
    return [
        f"It has a schedule, and does not start by itself where it is: put it into {folders}, or name its folder in UPKEEP_PLANS."
    ]


def _as_data(plan: Plan, seen: Outlook, count: int) -> dict[str, Any]:
    standing = seen.schedule.decide(seen.now)
    spans = [span for span in seen.schedule.openings(seen.now, count + 1) if span.start > seen.now][:count]
    here = next(iter(seen.schedule.openings(seen.now, 1)), None)
    found = fit(here, seen.now, seen.needs) if seen.needs is not None else None
    return {
        "plan": plan.name,
        "now": seen.now.isoformat(),
        "zone": seen.schedule.zone.key,
        "open": standing.open,
        "reason": standing.reason,
        "closes_at": _iso(standing.closes_at),
        "cutoff_at": _iso(standing.cutoff_at),
        "next": [_span(seen.schedule, span) for span in spans],
        "starts_by_itself": plan.schedule.runbook if plan.schedule else None,
        "unreadable": list(seen.schedule.unreadable),
        "fits": found.fits if found else None,
        "takes_seconds": found.takes.total_seconds() if found else None,
        "spare_seconds": found.spare.total_seconds() if found and found.spare is not None else None,
    }


def _span(schedule: Schedule, span: Span) -> dict[str, str | None]:
    return {
        "opens_at": span.start.isoformat(),
        "closes_at": _iso(span.end),
        "cutoff_at": _iso(span.cutoff_at),
        "opens_local": span.start.astimezone(schedule.zone).isoformat(),
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
