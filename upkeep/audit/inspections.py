"""Inspections in the history: what each host was like, what a run left on it, and which issues are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

from pydantic import BaseModel
from sqlmodel import col, select

from upkeep.audit.history import History
from upkeep.audit.of_hosts import OfHost, found_on
from upkeep.audit.tables import EventRow, HostRow, RunRow
from upkeep.domain.inspection import Acknowledgement, Left, Looked
from upkeep.domain.record import Actor, Event

INSPECTED, CONCLUDED, ACKNOWLEDGED = "host.inspected", "inspection.concluded", "check.acknowledged"
RUNBOOK = "health_inspection"
KNOWN = "known-issues"
"""Under this name, instead of a run's, acknowledgements are kept."""

_CHANGING = ("maintenance", "staged_upgrade", "rollback")
NEWEST_RUNS = 30


def keep_looks(history: History, run: str, looks: Iterable[Looked]) -> None:
    """Write down what hosts were like: figures for trends, and in full what was not good."""
    history.of_hosts(run, [event for look in looks for event in _kept(look)])


def _kept(look: Looked) -> Iterable[OfHost]:
    if look.problems:
        yield found_on(look.host, "inspection", look.problems)
    yield OfHost(look.host, INSPECTED, body=look.model_dump(mode="json", exclude_defaults=True))


def earlier_looks(history: History, run: str, hosts: Collection[str]) -> dict[str, list[Looked]]:
    """What these hosts were like at the newest inspections before this one, oldest first."""
    wanted = (
        select(RunRow.id)
        .where(RunRow.runbook == RUNBOOK, RunRow.id != run, col(RunRow.outcome).is_not(None))
        .order_by(col(RunRow.started_at).desc())
        .limit(NEWEST_RUNS)
    )
    with history.reading() as session:
        runs = session.exec(wanted).all()
        rows = select(EventRow.body).where(col(EventRow.run).in_(runs), EventRow.action == INSPECTED)
        bodies = session.exec(rows.order_by(col(EventRow.seq))).all()
    found: dict[str, list[Looked]] = defaultdict(list)
    for body in bodies:
        look = _Inspected.model_validate_json(body).body
        if look.host in hosts:
            found[look.host].append(look)
    return found


class _Inspected(BaseModel):
    """Of an event only what the host was like: read in one go, as there are thirty for every host."""

    body: Looked


def left_by_runs(history: History, hosts: Collection[str]) -> dict[str, Left]:
    """What the last run that changed each of these hosts left on it."""
    wanted = (
        select(HostRow, RunRow.ended_at)
        .join(RunRow, col(RunRow.id) == HostRow.run)
        .where(
            col(RunRow.runbook).in_(_CHANGING),
            col(RunRow.ended_at).is_not(None),
            col(HostRow.outcome).in_(["committed", "rolled back"]),
        )
        .order_by(col(RunRow.ended_at))
    )
    with history.reading() as session:
        rows = session.exec(wanted).all()
    last = {row.host: (row, str(ended)) for row, ended in rows if row.host in hosts}
    return {host: _left(row, ended) for host, (row, ended) in last.items()}


def _left(row: HostRow, ended: str) -> Left:
    version = row.to_version if row.outcome == "committed" else row.from_version
    return Left(datetime.fromisoformat(ended), version or "")


def acknowledge(history: History, wanted: Acknowledgement, actor: Actor) -> Event:
    """Keep that an issue is known until a day."""
    body = wanted.model_dump(mode="json", exclude={"reason", "by"})
    return history.record(KNOWN, ACKNOWLEDGED, host=wanted.host, reason=wanted.reason, body=body, actor=actor)


def known_issues(history: History) -> list[Acknowledgement]:
    """Every acknowledgement, oldest first; a later one of the same host and check takes the place of an earlier one."""
    found: dict[tuple[str, str], Acknowledgement] = {}
    for event in history.events(KNOWN):
        if event.action == ACKNOWLEDGED:
            one = Acknowledgement.model_validate({**event.body, "reason": event.reason, "by": event.actor.name})
            found[one.host, one.check] = one
    return list(found.values())
