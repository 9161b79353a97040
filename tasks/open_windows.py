"""Plans that start by themselves: each start is promised, planned at the Prefect server once, and written down when it was missed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tasks.flow_runs import FlowRuns, Standing
from tasks.missed_starts import note_missed
from upkeep.audit.history import History
from upkeep.documents import load_inventory, load_plan
from upkeep.documents.source import compose, read_text
from upkeep.domain.plan import Plan, SelfStart
from upkeep.domain.record import RunRequest
from upkeep.domain.starting import LOOK_BACK, TOLERANCE, PlannedStart, Start, overdue, planned_starts
from upkeep.errors import BadInput, ServiceError
from upkeep.wiring import Site

TEMPLATE = ".template.yaml"
PLANNED_AHEAD = timedelta(minutes=3)
"""How long before its instant a flow run is planned: a plan that is changed later than this may still start as it was."""

BEGINS_WITHIN = timedelta(minutes=30)
"""A flow run that was taken in time and has not opened its run by then (it fetches archives first) counts as missed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scheduled:
    """One plan that starts by itself."""

    path: Path
    plan: Plan
    schedule: SelfStart

    def request(self, start: PlannedStart) -> RunRequest:
        """What is asked for in its name."""
        return RunRequest(
            inventory=str(self.path.parent / Path(self.schedule.inventory).expanduser()),
            plan=str(self.path),
            source="schedule",
            requested_by="schedule",
            run_id=start.id,
            reason=f"the window of plan '{self.plan.name}' opened",
        )


def open_windows(site: Site, flow_runs: FlowRuns, now: datetime) -> list[str]:
    """Look after every plan in the plans' folders that starts by itself; a sentence for each thing done or found wrong."""
    done: list[str] = []
    for path in plan_files(site.settings.plans):
        try:
            scheduled = _read(path)
        except BadInput as error:
            done += _unreadable(site.history, path, str(error))
            continue
        if scheduled is not None:
            done += _look_after(site.history, flow_runs, scheduled, now)
    return done


def plan_files(folders: tuple[Path, ...]) -> list[Path]:
    """The YAML files of these folders that are not templates, in order."""
    return [path for folder in folders for path in sorted(folder.glob("*.yaml")) if not path.name.endswith(TEMPLATE)]


def _read(path: Path) -> Scheduled | None:
    """The plan in a file; None where the file holds something else, or a plan that only starts when somebody asks."""
    text = read_text(path)
    if "schedule" not in text or "schedule" not in (compose(text, str(path)).entries or {}):
        return None
    plan = load_plan(path)
    if plan.schedule is None:
        return None
    load_inventory(path.parent / Path(plan.schedule.inventory).expanduser())
    return Scheduled(path, plan, plan.schedule)


def _look_after(history: History, flow_runs: FlowRuns, scheduled: Scheduled, now: datetime) -> Iterator[str]:
    """What was missed is said before what comes next is promised."""
    past, coming = _around(scheduled, now)
    known = ((start, _standing(history, start)) for start in reversed(past))
    for start in overdue(known):
        why = _why_missed(flow_runs, start, now)
        if why and note_missed(history, scheduled.request(start), scheduled.schedule.runbook, start.at, why):
            yield f"plan '{scheduled.plan.name}': the start of {start.at:%Y-%m-%d %H:%M} UTC was missed: {why}"
    for start in coming:
        yield from _promise(history, scheduled, start)
        if start.at <= now + PLANNED_AHEAD and _standing(history, start) is Start.PROMISED:
            yield from _plan(flow_runs, scheduled, start)


def _around(scheduled: Scheduled, now: datetime) -> tuple[list[PlannedStart], list[PlannedStart]]:
    """The starts that are over, and those that can still be made: all that are near, and the next one."""
    past: list[PlannedStart] = []
    coming: list[PlannedStart] = []
    for start in planned_starts(str(scheduled.path), scheduled.plan.window, now - LOOK_BACK):
        if start.at < now - TOLERANCE:
            past.append(start)
            continue
        coming.append(start)
        if start.at > now + PLANNED_AHEAD:
            break
    return past, coming


def _standing(history: History, start: PlannedStart) -> Start:
    if history.find_run(start.id) is not None:
        return Start.OPENED
    if history.events(start.missed_id):
        return Start.MISSED
    return Start.PROMISED if history.events(start.id) else Start.UNKNOWN


def _promise(history: History, scheduled: Scheduled, start: PlannedStart) -> Iterator[str]:
    """Written down before it is due, so that a start that nobody made is known to be missing."""
    if history.events(start.id):
        return
    body = {"plan": str(scheduled.path), "runbook": scheduled.schedule.runbook, "planned": start.at.isoformat()}
    history.record(start.id, "start.promised", reason=f"the window of plan '{scheduled.plan.name}' opens", body=body)
    yield f"plan '{scheduled.plan.name}' starts by itself at {start.at:%Y-%m-%d %H:%M} UTC as run {start.id}"


def _plan(flow_runs: FlowRuns, scheduled: Scheduled, start: PlannedStart) -> Iterator[str]:
    try:
        flow_runs.plan(scheduled.schedule.runbook, scheduled.request(start), start)
    except ServiceError as error:
        log.warning("plan %s: %s", scheduled.path, error)
        yield f"plan '{scheduled.plan.name}': run {start.id} could not be planned yet: {error}"


def _why_missed(flow_runs: FlowRuns, start: PlannedStart, now: datetime) -> str:
    """Why a start that is over was not made; empty while it may still be in the making."""
    late = f"; a start more than {int(TOLERANCE.total_seconds())} s late is not made up for"
    try:
        standing = flow_runs.standing(start)
        if standing is Standing.IN_WORK and now - start.at < BEGINS_WITHIN:
            return ""
        flow_runs.withdraw(start, f"missed{late}")
    except ServiceError as error:
        return f"{error}{late}"
    if standing is Standing.NONE:
        return f"no controller looked after this plan then{late}"
    return f"{standing.value}{late}"


def _unreadable(history: History, path: Path, problem: str) -> Iterator[str]:
    """A plan that cannot be read starts nothing: said once for every version of the file."""
    about = f"plan-{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"
    seen = hashlib.sha256(problem.encode()).hexdigest()
    if any(event.body.get("problem_sha256") == seen for event in history.events(about)):
        return
    body = {"plan": str(path), "problem_sha256": seen}
    history.record(about, "schedule.unreadable", reason=f"{problem}; it does not start by itself", body=body)
    yield f"{path.name} cannot be read and does not start by itself: {problem}"
