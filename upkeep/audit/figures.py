"""Figures of the history for monitoring: absolute counts that only grow, and how long things have waited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Float, cast, extract
from sqlalchemy import DateTime as Moment
from sqlmodel import Session, col, func, select

from upkeep.audit.history import History
from upkeep.audit.tables import CheckpointRow, DeliveryRow, HostRow, OutboxRow, RunRow, ShardOrderRow, StageRow, StepRow

OPEN = "running"


@dataclass
class RunFigures:
    """What one run adds to the counts."""

    hosts: Counter[str] = field(default_factory=Counter)
    gates: Counter[str] = field(default_factory=Counter)
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass
class Figures:
    """All at one moment; `ages` are seconds that the oldest entry of a queue has waited."""

    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    all: RunFigures = field(default_factory=RunFigures)
    ages: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    checkpoint_age: float | None = None


class Counts:
    """Keeps what runs that are over add, so that a look costs what is open and what is new."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._over: set[str] = set()
        self._kept = RunFigures()

    def at(self, now: datetime) -> Figures:
        """The figures now; raises AuditError when the history cannot be read."""
        with self._history.reading() as session:
            known = session.exec(select(RunRow.id, RunRow.runbook, RunRow.outcome)).all()
            ended = {run for run, _, outcome in known if outcome is not None} - self._over
            still = {run for run, _, outcome in known if outcome is None}
            self._kept = _sum([self._kept, *(_figures(session, part) for part in _parts(ended))])
            self._over |= ended
            told = Figures(runs=Counter((runbook, outcome or OPEN) for _, runbook, outcome in known))
            told.all = _sum([self._kept, *(_figures(session, part) for part in _parts(still))])
            _look_at_queues(session, told, now)
        return told


def _parts(runs: Iterable[str], size: int = 500) -> Iterable[list[str]]:
    ordered = sorted(runs)
    return (ordered[start : start + size] for start in range(0, len(ordered), size))


def _sum(parts: Iterable[RunFigures]) -> RunFigures:
    total = RunFigures()
    for part in parts:
        total.hosts.update(part.hosts)
        total.gates.update(part.gates)
        total.steps.update(part.steps)
        for key, seconds in part.seconds.items():
            total.seconds[key] = total.seconds.get(key, 0.0) + seconds
    return total


def _figures(session: Session, runs: list[str]) -> RunFigures:
    hosts = select(HostRow.outcome, func.count()).where(col(HostRow.run).in_(runs), col(HostRow.outcome).is_not(None))
    gates = select(StageRow.verdict, func.count()).where(
        col(StageRow.run).in_(runs), col(StageRow.verdict).is_not(None)
    )
    took = func.sum(_seconds(session)).label("seconds")
    steps = select(StepRow.step, StepRow.happening, func.count(), took)
    steps = steps.where(col(StepRow.run).in_(runs), col(StepRow.ended_at).is_not(None))
    made = RunFigures()
    made.hosts.update({str(outcome): count for outcome, count in session.exec(hosts.group_by(col(HostRow.outcome)))})
    made.gates.update({str(verdict): count for verdict, count in session.exec(gates.group_by(col(StageRow.verdict)))})
    for step, happening, count, seconds in session.exec(steps.group_by(col(StepRow.step), col(StepRow.happening))):
        made.steps[step, happening] = count
        made.seconds[step, happening] = float(seconds or 0)
    return made


def _seconds(session: Session) -> ColumnElement[float]:
    ended, begun = col(StepRow.ended_at), col(StepRow.intent_at)
    if session.get_bind().dialect.name == "sqlite":
        return (func.julianday(ended) - func.julianday(begun)) * 86400
    return cast(extract("epoch", cast(ended, Moment(timezone=True)) - cast(begun, Moment(timezone=True))), Float)


def _look_at_queues(session: Session, told: Figures, now: datetime) -> None:
    queues = {
        "outbox": select(func.min(OutboxRow.put_at), func.count()).where(
            col(OutboxRow.sent_at).is_(None), col(OutboxRow.given_up_at).is_(None)
        ),
        "deliveries": select(func.min(DeliveryRow.received_at), func.count()).where(
            col(DeliveryRow.state).in_(["new", "waiting"])
        ),
        "orders": select(func.min(ShardOrderRow.put_at), func.count()).where(col(ShardOrderRow.answered_at).is_(None)),
        "checkpoint copies": select(func.min(CheckpointRow.at), func.count()).where(CheckpointRow.exported_to == ""),
    }
    for name, wanted in queues.items():
        oldest, count = session.exec(wanted).one()
        told.waiting[name] = count
        told.ages[name] = _age(oldest, now)
    newest = session.exec(select(func.max(CheckpointRow.at))).one()
    told.checkpoint_age = _age(newest, now) if newest else None


def _age(moment: str | None, now: datetime) -> float:
    return max((now - datetime.fromisoformat(moment)).total_seconds(), 0.0) if moment else 0.0
