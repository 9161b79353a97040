"""Questions the pages ask: a page of runs, of a run's hosts and their steps, one host's life; each by a fixed number of queries."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnClause, Select, case, literal, literal_column, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, func, select

from upkeep.audit.queries import OF_NO_HOST, Queries, as_written
from upkeep.audit.reading import Asked, HostDetail, RunSummary, StageDetail
from upkeep.audit.tables import EventRow, FindingRow, HostRow, RunRow, StageRow, StepRow
from upkeep.domain.change import HostOutcome, RunOutcome, Step
from upkeep.domain.finding import Finding
from upkeep.domain.record import Happening
from upkeep.domain.stages import StagePlan

OPEN = "running"
"""What a search calls runs that have no outcome yet."""

_ONE: ColumnClause[int] = literal_column("1")
_PASS: ColumnClause[str] = literal_column("'pass'")
"""Written out, since only then a database sees that a partial index holds all that is asked for."""
_WORST_FIRST = (HostOutcome.FAILED, HostOutcome.ROLLED_BACK, HostOutcome.SET_ASIDE, HostOutcome.BLOCKED)


class RunSearch(BaseModel):
    """What a person looks for among runs; empty fields match all."""

    model_config = ConfigDict(frozen=True)

    q: str = ""
    host: str = ""
    ticket: str = ""
    person: str = ""
    plan: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None


class HostSearch(BaseModel):
    """What a person looks for among a run's hosts; empty fields match all."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    outcome: str = ""
    stage: str = ""


class RunLine(BaseModel):
    """One run without its frozen record."""

    id: str
    runbook: str
    plan: str
    plan_hash: str
    actor: str
    source: str
    ticket: str
    reason: str
    of_run: str
    started_at: datetime
    ended_at: datetime | None
    outcome: RunOutcome | None
    outcome_reason: str
    stop_requested: str | None
    flow_run_id: str
    lease_until: datetime | None


_LINE: list[Any] = [
    getattr(RunRow, name) for name in RunLine.model_fields
]  # all but the record: half a megabyte with 1,000 hosts
_TRY: list[Any] = [StepRow.host, StepRow.step, StepRow.happening, StepRow.attempt, StepRow.intent_at, StepRow.ended_at]


class Cell(BaseModel):
    """The newest try of one step on one host."""

    step: Step
    happening: Happening
    attempt: int
    seconds: float | None


class MatrixRow(BaseModel):
    """One host of a run and what became of each of its steps."""

    name: str
    host: HostDetail
    cells: dict[Step, Cell] = Field(default_factory=dict)


class HostRun(BaseModel):
    """One run in a host's life."""

    run: RunLine
    host: HostDetail


class Browsing(Queries):
    """Reads for pages; raises AuditError when the database cannot be used."""

    def search_runs(self, wanted: RunSearch, *, offset: int = 0, limit: int = 25) -> tuple[list[RunSummary], int]:
        """One page of the runs looked for, newest first, and how many there are."""
        ids = _matching(select(col(RunRow.id)), wanted)
        newest: Any = _matching(select(*_LINE), wanted).order_by(col(RunRow.started_at).desc(), col(RunRow.id).desc())
        with self._reading() as session:
            total = session.exec(select(func.count()).select_from(ids.subquery())).one()
            rows = session.exec(newest.offset(offset).limit(limit)).mappings().all()
            counts: dict[str, dict[str, int]] = defaultdict(dict)
            counted = select(HostRow.run, HostRow.outcome, func.count()).group_by(HostRow.run, col(HostRow.outcome))
            for run, outcome, number in session.exec(counted.where(col(HostRow.run).in_([row["id"] for row in rows]))):
                counts[run][outcome or "open"] = number
            return [RunSummary.model_validate({**row, "host_outcomes": counts[row["id"]]}) for row in rows], total

    def run_line(self, run_id: str) -> RunLine | None:
        """One run by its whole id."""
        with self._reading() as session:
            row = session.exec(select(*_LINE).where(RunRow.id == run_id)).mappings().first()
            return RunLine.model_validate(row) if row else None

    def open_lines(self) -> list[RunLine]:
        """Runs without an outcome, oldest first."""
        wanted = select(*_LINE).where(col(RunRow.outcome).is_(None)).order_by(col(RunRow.started_at))
        with self._reading() as session:
            return [RunLine.model_validate(row) for row in session.exec(wanted).mappings()]

    def asked(self, run_id: str) -> Asked:
        """What a run was opened with, by its whole id."""
        with self._reading() as session:
            return Asked.model_validate_json(session.exec(select(RunRow.record).where(RunRow.id == run_id)).one())

    def last_seq(self, run_id: str = "") -> int:
        """Number of the newest event, of one run if it is named; 0 when there is none."""
        wanted = select(func.max(EventRow.seq))
        with self._reading() as session:
            return session.exec(wanted.where(EventRow.run == run_id) if run_id else wanted).one() or 0

    def stage_plan(self, run_id: str) -> StagePlan | None:
        """The stages as they were planned; None until they are."""
        wanted = select(EventRow.body).where(EventRow.run == run_id, EventRow.action == "run.planned", OF_NO_HOST)
        with self._reading() as session:
            body = session.exec(wanted.order_by(col(EventRow.seq).desc())).first()
        return StagePlan.model_validate(json.loads(body)["body"]) if body else None

    def stages_of(self, run_id: str) -> list[StageDetail]:
        """A run's stages in the order they were opened."""
        with self._reading() as session:
            rows = session.exec(select(StageRow).where(StageRow.run == run_id).order_by(col(StageRow.id)))
            return [StageDetail.of(row) for row in rows]

    def outcomes_of(self, run_id: str) -> dict[str, dict[str, int]]:
        """Hosts by stage and outcome; `open` for hosts without one."""
        wanted = select(HostRow.stage, HostRow.outcome, func.count()).where(HostRow.run == run_id)
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        with self._reading() as session:
            for stage, outcome, number in session.exec(wanted.group_by(HostRow.stage, col(HostRow.outcome))):
                counts[stage][outcome or "open"] = number
        return dict(counts)

    def step_counts(self, run_id: str) -> dict[str, dict[str, int]]:
        """Of every step: hosts by what became of its newest try."""
        tries = select(StepRow.step, StepRow.happening, func.count()).where(StepRow.run == run_id)
        again = aliased(StepRow)
        of_same = (StepRow.run == again.run, StepRow.host == again.host, StepRow.step == again.step)
        was = select(StepRow.happening).where(*of_same, StepRow.attempt == again.attempt - _ONE).scalar_subquery()
        overtaken = select(again.step, was, func.count()).where(again.run == run_id, col(again.attempt) > _ONE)
        asked = ((tries.group_by(StepRow.step, StepRow.happening), 1), (overtaken.group_by(again.step, was), -1))
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        with self._reading() as session:
            for wanted, sign in asked:
                for step, happening, number in session.exec(wanted):
                    counts[step][happening] += sign * number
        return {step: dict(+by) for step, by in counts.items()}

    def matrix(
        self, run_id: str, wanted: HostSearch, *, offset: int = 0, limit: int = 100
    ) -> tuple[list[MatrixRow], int]:
        """One page of a run's hosts with their steps, what needs a person first; and how many there are."""
        hosts = _of_hosts(select(HostRow).where(HostRow.run == run_id), wanted)
        numbered = _of_hosts(select(func.count()).select_from(HostRow).where(HostRow.run == run_id), wanted)
        worst = {outcome.value: place for place, outcome in enumerate(_WORST_FIRST)}
        place = case(worst, value=HostRow.outcome, else_=case((col(HostRow.outcome).is_(None), 5), else_=6))
        with self._reading() as session:
            total = session.exec(numbered).one()
            found = session.exec(hosts.order_by(place, HostRow.host).offset(offset).limit(limit)).all()
            rows = {row.host: MatrixRow(name=row.host, host=HostDetail.of(row)) for row in found}
            tries = select(*_TRY).where(StepRow.run == run_id, col(StepRow.host).in_(list(rows)))
            for host, step, happening, attempt, begun, ended in session.exec(tries.order_by(col(StepRow.id))):
                rows[host].cells[Step(step)] = _cell(step, happening, attempt, begun, ended)
        return list(rows.values()), total

    def life_of(self, host: str, *, offset: int = 0, limit: int = 25) -> tuple[list[HostRun], int]:
        """One page of the runs a host was part of, newest first, and how many there are."""
        wanted = select(HostRow, *_LINE).join(RunRow, col(RunRow.id) == HostRow.run).where(HostRow.host == host)
        newest = wanted.order_by(col(RunRow.started_at).desc(), col(RunRow.id).desc()).offset(offset).limit(limit)
        with self._reading() as session:
            total = session.exec(select(func.count()).select_from(HostRow).where(HostRow.host == host)).one()
            return [_host_run(row) for row in session.exec(newest)], total

    def host_in_run(self, run_id: str, host: str) -> HostDetail | None:
        """One host in one run."""
        with self._reading() as session:
            row = session.get(HostRow, (run_id, host))
            return HostDetail.of(row) if row else None

    def objections(self, run_id: str, *, limit: int = 200) -> tuple[list[tuple[str, str, Finding]], int]:
        """Host, phase and finding of what was not a pass in a run, failures first, and how many there are."""
        wanted = select(FindingRow.host, FindingRow.phase, FindingRow.finding).where(
            FindingRow.run == run_id, col(FindingRow.verdict) != _PASS
        )
        place = case({"fail": 0, "unknown": 1}, value=FindingRow.verdict, else_=2)
        with self._reading() as session:
            total = session.exec(select(func.count()).select_from(wanted.subquery())).one()
            rows = session.exec(wanted.order_by(place, col(FindingRow.id)).limit(limit))
            return [(host, phase, Finding.model_validate_json(finding)) for host, phase, finding in rows], total

    def known(self) -> dict[str, Sequence[str]]:
        """Plans and people in the history, for the search's suggestions."""
        with self._reading() as session:
            return {
                "plans": session.exec(select(RunRow.plan).distinct().order_by(RunRow.plan).limit(200)).all(),
                "people": session.exec(select(RunRow.actor).distinct().order_by(RunRow.actor).limit(200)).all(),
            }


def _matching(query: Select[Any], wanted: RunSearch) -> Select[Any]:
    for column, text in ((RunRow.ticket, wanted.ticket), (RunRow.actor, wanted.person), (RunRow.plan, wanted.plan)):
        if text:
            query = query.where(col(column).icontains(text, autoescape=True))
    if wanted.host:
        query = query.where(col(RunRow.id).in_(select(HostRow.run).where(HostRow.host == wanted.host)))
    if wanted.outcome:
        none = col(RunRow.outcome).is_(None)
        query = query.where(none if wanted.outcome == OPEN else col(RunRow.outcome) == wanted.outcome)
    if wanted.since:
        query = query.where(col(RunRow.started_at) >= as_written(wanted.since))
    if wanted.until:
        query = query.where(col(RunRow.started_at) < as_written(wanted.until))
    return query.where(_anywhere(wanted.q)) if wanted.q else query


def _anywhere(text: str) -> Any:  # noqa: ANN401 - an expression of SQLAlchemy
    columns = (RunRow.id, RunRow.runbook, RunRow.plan, RunRow.ticket, RunRow.actor, RunRow.reason)
    of_host = col(RunRow.id).in_(select(HostRow.run).where(HostRow.host == literal(text)))
    return or_(of_host, *(col(column).icontains(text, autoescape=True) for column in columns))


def _of_hosts(query: Any, wanted: HostSearch) -> Any:  # noqa: ANN401 - a statement of SQLAlchemy
    if wanted.name:
        query = query.where(col(HostRow.host).icontains(wanted.name, autoescape=True))
    if wanted.stage:
        query = query.where(HostRow.stage == wanted.stage)
    if wanted.outcome:
        none = col(HostRow.outcome).is_(None)
        query = query.where(none if wanted.outcome == "open" else HostRow.outcome == wanted.outcome)
    return query


def _cell(step: str, happening: str, attempt: int, begun: str, ended: str | None) -> Cell:
    took = (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds() if ended else None
    return Cell(step=Step(step), happening=Happening(happening), attempt=attempt, seconds=took)


def _host_run(row: Any) -> HostRun:  # noqa: ANN401 - a row of two things
    facts = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    return HostRun(
        run=RunLine.model_validate({column.key: facts[column] for column in _LINE}),
        host=HostDetail.of(facts[HostRow]),
    )
