"""What is read from the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel
from typing_extensions import TypedDict  # which pydantic wants below Python 3.12

from upkeep.audit.tables import HostRow, RunRow, StageRow, StepRow
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome, Step
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding
from upkeep.domain.plan import Plan
from upkeep.domain.record import Actor, Event, Happening, RunRecord
from upkeep.domain.release import Release


class HostDetail(BaseModel):
    """One host in a run; `outcome` is None while it is not decided."""

    stage: str
    current_step: str
    outcome: HostOutcome | None
    failure_class: FailureClass | None
    from_version: str | None
    to_version: str | None
    reason: str
    remedy: str

    @classmethod
    def of(cls, row: HostRow) -> HostDetail:
        """Read from a row."""
        return cls.model_validate(row.model_dump())

    def result(self) -> HostResult:
        """The host's result.

        Raises:
            ValueError: it has none yet.
        """
        if self.outcome is None:
            message = "this host has no outcome yet"
            raise ValueError(message)
        return HostResult(
            outcome=self.outcome,
            failure_class=self.failure_class,
            from_version=self.from_version,
            to_version=self.to_version,
            reason=self.reason,
            remedy=self.remedy,
        )


class StageDetail(BaseModel):
    """One stage of a run; `verdict` is None while it is open."""

    name: str
    hosts: tuple[str, ...]
    opened_at: datetime
    closed_at: datetime | None
    verdict: str | None
    reason: str

    @classmethod
    def of(cls, row: StageRow) -> StageDetail:
        """Read from a row."""
        return cls.model_validate(row.model_dump() | {"hosts": row.hosts.split()})


class RunSummary(BaseModel):
    """One line of the list of runs."""

    id: str
    runbook: str
    plan: str
    actor: str
    source: str
    ticket: str
    reason: str
    started_at: datetime
    ended_at: datetime | None
    outcome: RunOutcome | None
    host_outcomes: dict[str, int]

    @classmethod
    def of(cls, row: RunRow, hosts: list[HostRow]) -> RunSummary:
        """Read from rows."""
        counts = Counter(host.outcome or "open" for host in hosts)
        return cls.model_validate(row.model_dump() | {"host_outcomes": dict(counts)})


class MissedStart(BaseModel):
    """A start that was planned and did not happen; `next` says in words when the plan's window opens next."""

    id: str
    runbook: str
    plan: str
    planned: datetime
    next: str = ""
    reason: str
    at: datetime

    @classmethod
    def of(cls, event: Event) -> MissedStart:
        """Read from its event."""
        return cls.model_validate(event.body | {"id": event.run, "reason": event.reason, "at": event.at})


class RunDetail(BaseModel):
    """Everything about one run but its steps and findings."""

    id: str
    runbook: str
    actor: str
    source: str
    ticket: str
    started_at: datetime
    ended_at: datetime | None
    outcome: RunOutcome | None
    reason: str
    process: str
    flow_run_id: str
    lease_until: datetime | None
    record: RunRecord
    hosts: dict[str, HostDetail]
    stages: tuple[StageDetail, ...]

    @classmethod
    def of(cls, row: RunRow, hosts: list[HostRow], stages: list[StageRow]) -> RunDetail:
        """Read from rows."""
        return cls.model_validate(
            row.model_dump(exclude={"record", "reason"})
            | {
                "reason": row.outcome_reason,
                "record": RunRecord.model_validate_json(row.record),
                "hosts": {host.host: HostDetail.of(host) for host in hosts},
                "stages": tuple(StageDetail.of(stage) for stage in stages),
            },
        )


class _Named(TypedDict):
    """What is read of a host; the rest of its JSON is passed over and never becomes an object."""

    name: str


class Asked(BaseModel):
    """What pages tell of a run's frozen record; read with `model_validate_json`.

    Of its hosts it is the names: to make 5,000 hosts takes a tenth of a second, to read their names 6 ms.
    """

    actor: Actor
    reason: str = ""
    ticket: str = ""
    override: str = ""
    dry_run: bool = False
    plan: Plan
    plan_hash: str
    release: Release | None = None
    key_ids: tuple[str, ...] = ()
    fleet_size: int = 0
    targets: tuple[_Named, ...]


class StepDetail(BaseModel):
    """One try of one step on one host; `happening` stays intent when nobody knows what came of it."""

    host: str
    step: Step
    attempt: int
    intent_at: datetime
    ended_at: datetime | None
    happening: Happening
    reason: str

    @classmethod
    def of(cls, row: StepRow) -> StepDetail:
        """Read from a row."""
        return cls.model_validate(row.model_dump())


@dataclass(frozen=True)
class StepTimes:
    """How long hosts took: from lock to commit, and to be put back."""

    changes: tuple[timedelta, ...] = ()
    rollbacks: tuple[timedelta, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[StepRow]) -> StepTimes:
        """Read from finished lock, commit and rollback steps, oldest first."""
        locked: dict[tuple[str, str], str] = {}
        changes: list[timedelta] = []
        rollbacks: list[timedelta] = []
        for row in rows:
            end = datetime.fromisoformat(row.ended_at or row.intent_at)
            if row.step == Step.LOCK:
                locked[row.run, row.host] = row.intent_at
            elif row.step == Step.ROLLBACK:
                rollbacks.append(end - datetime.fromisoformat(row.intent_at))
            elif begun := locked.pop((row.run, row.host), ""):
                changes.append(end - datetime.fromisoformat(begun))
        return cls(tuple(changes), tuple(rollbacks))


class FindingDetail(BaseModel):
    """One finding and when it was made."""

    phase: str
    at: datetime
    finding: Finding


class BackupDetail(BaseModel):
    """One backup on the controller."""

    host: str
    path: str
    size_bytes: int
    sha256: str
    files: int
    taken_at: datetime
    verified: bool


class DeliveryDetail(BaseModel):
    """How an archive of the release reached one host; `url` is empty when the release names no such archive."""

    host: str
    sha256: str
    url: str
    way: str
    instead_of: str
    at: datetime
    happening: Happening
    size_bytes: int
    tries: int
