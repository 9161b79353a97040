"""The history: every run, stage, host and step, intent before and result after, appended and never changed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from upkeep.audit import models
from upkeep.audit.browsing import Browsing
from upkeep.audit.chain import canonical
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.copies import Copies
from upkeep.audit.database import open_database, trouble, writing
from upkeep.audit.of_hosts import OfHost, found_on, result_of
from upkeep.audit.redaction import Redaction
from upkeep.audit.rotation import ROTATED
from upkeep.audit.signing import KeyFolder
from upkeep.audit.tables import RunRow
from upkeep.audit.writer import Beside, Writer
from upkeep.domain.change import HostResult, RunOutcome, Step
from upkeep.domain.finding import Finding
from upkeep.domain.record import Actor, Event, Happening, RunRecord
from upkeep.domain.stages import StagePlan
from upkeep.domain.stopping import Stop
from upkeep.errors import UpkeepError

log = logging.getLogger(__name__)

UPKEEP = Actor(name="upkeep", kind="upkeep")


@dataclass
class StepRecord:
    """What a step may add to its result while it runs."""

    reason: str = ""
    body: dict[str, Any] = field(default_factory=dict)


class History(Browsing):
    """Writes and reads the history. Every method raises AuditError when the database cannot be used; safe for many threads."""

    def __init__(self, engine: Engine, url: str) -> None:
        super().__init__(engine, url)
        self.listeners: list[Callable[[Event], None]] = []
        self._redaction = Redaction()
        self._writer = Writer(engine, url, self._redaction)
        self._actors: dict[str, Actor] = {}
        self._ending: list[Callable[[], None]] = []

    @classmethod
    def open(cls, url: str) -> History:
        """Open and migrate the database at a SQLAlchemy URL."""
        return cls(open_database(url), url)

    def close(self) -> None:
        """Write what was handed in, make no more checkpoints by the clock and let go of the database."""
        for end in self._ending:
            end()
        self._writer.close()
        self._engine.dispose()

    def seal(self, keys: KeyFolder, copies: Copies) -> Checkpoints:
        """From here on every run that ends is sealed by a checkpoint, signed with `keys` and copied to `copies`."""
        checkpoints = Checkpoints(self._engine, self._url, keys, copies)
        self.listeners.append(checkpoints.heard)
        self._ending.append(checkpoints.close)
        return checkpoints

    def rotate_key(self, checkpoints: Checkpoints, actor: Actor, reason: str) -> Event:
        """Sign with a new key from here on; the event that says so is signed by both, and sealed by the new one at once."""
        body = checkpoints.rotation().model_dump()
        written = self._append("", ROTATED, reason=reason, body=body, actor=actor)
        checkpoints.make()
        return written

    def mask(self, secret: str) -> None:
        """Never write `secret`."""
        self._redaction.mask(secret)

    def clean(self, plain: Any) -> Any:  # noqa: ANN401 - whatever JSON holds, in the same shape
        """JSON data without anything that must not be written."""
        return self._redaction.data(plain)

    def act_for(self, run_id: str, actor: Actor) -> None:
        """What this process writes about a run that another one opened is done in this name."""
        self._actors[run_id] = actor

    def open_run(self, record: RunRecord) -> None:
        """A run begins."""
        self._actors[record.id] = record.actor
        clean = self._redaction.data(record.model_dump(mode="json"))
        body: dict[str, Any] = {
            "runbook": record.runbook,
            "plan": record.plan.name,
            "plan_hash": record.plan_hash,
            "targets": [h.name for h in record.targets],
        }
        body |= {"source": record.source, "ticket": record.ticket, "dry_run": record.dry_run, "of_run": record.of_run}
        body |= {"record": clean, "record_sha256": hashlib.sha256(canonical(clean).encode()).hexdigest()}
        self._append(record.id, "run.opened", reason=record.reason, body=body)

    def close_run(self, run_id: str, outcome: RunOutcome, reason: str) -> None:
        """A run ends."""
        self._append(run_id, "run.closed", reason=reason, body={"outcome": outcome.value})

    def record(
        self,
        run_id: str,
        action: str,
        *,
        host: str = "",
        stage: str = "",
        reason: str = "",
        body: Mapping[str, Any] | None = None,
        actor: Actor | None = None,
    ) -> Event:
        """Anything else worth keeping; without `actor` it is whoever the run belongs to."""
        return self._append(run_id, action, host=host, stage=stage, reason=reason, body=body, actor=actor)

    @contextlib.contextmanager
    def step(self, run_id: str, host: str, step: Step, *, stage: str = "") -> Iterator[StepRecord]:
        """One step on one host: the intent is durable before the body runs, the result is written after it.

        A result that never comes means that nobody knows: look at the host.
        """
        where: dict[str, Any] = {"host": host, "stage": stage, "step": step}
        action = f"step.{step.value}"
        self._append(run_id, action, happening=Happening.INTENT, **where)
        record = StepRecord()
        try:
            yield record
        except BaseException as error:
            happening = Happening.FAILED if isinstance(error, UpkeepError) else Happening.UNKNOWN
            reason = str(error) or type(error).__name__
            self._append(run_id, action, happening=happening, reason=reason, body=record.body, **where)
            raise
        self._append(run_id, action, happening=Happening.OK, reason=record.reason, body=record.body, **where)

    def host_result(self, run_id: str, host: str, result: HostResult, *, stage: str = "") -> None:
        """What came of one host."""
        told = result_of(host, result)
        self._append(run_id, told.action, host=host, stage=stage, reason=told.reason, body=dict(told.body))

    def findings(self, run_id: str, host: str, phase: str, findings: Sequence[Finding]) -> None:
        """What was found on one host in one phase."""
        if not findings:
            return
        told = found_on(host, phase, findings)
        self._append(run_id, told.action, host=host, body=dict(told.body))

    def of_hosts(self, run_id: str, told: Iterable[OfHost]) -> None:
        """Events of many hosts, written together in few commits; they are durable when this returns."""
        actor, at = self._actors.get(run_id, UPKEEP), datetime.now(UTC)
        events = [
            Event(
                seq=0,
                at=at,
                run=run_id,
                actor=actor,
                action=one.action,
                happening=Happening.NOTE,
                host=one.host,
                reason=one.reason,
                body=dict(one.body),
            )
            for one in told
        ]
        for written in self._writer.append_all(events):
            for listener in list(self.listeners):
                self._tell(listener, written)

    def stage_opened(self, run_id: str, name: str, hosts: Iterable[str]) -> None:
        """A stage begins."""
        names = list(hosts)
        self._append(run_id, "stage.opened", stage=name, body={"hosts": names})

    def stage_closed(self, run_id: str, name: str, verdict: str, reason: str) -> None:
        """A stage's gate has decided."""
        self._append(run_id, "stage.closed", stage=name, reason=reason, body={"verdict": verdict})

    def backup_taken(
        self, run_id: str, host: str, *, path: str, size_bytes: int, sha256: str, files: int, verified: bool
    ) -> None:
        """A backup lies in the controller's store."""
        body = {"path": path, "size_bytes": size_bytes, "sha256": sha256, "files": files, "verified": verified}
        self._append(run_id, "host.backup", host=host, body=body)

    def note_release(self, channel: str, key_id: str, release_seq: int, run_id: str) -> None:
        """A release was accepted; an older one of this channel and key will be refused."""
        body = {"channel": channel, "key_id": key_id, "release_seq": release_seq}
        self._append(run_id, "release.accepted", body=body)

    def stages_planned(self, run_id: str, plan: StagePlan) -> None:
        """Which hosts go when; frozen from here on."""
        self._append(run_id, "run.planned", body=plan.model_dump(mode="json"))

    def stop_decided(self, run_id: str, stop: Stop) -> None:
        """No further host is started."""
        body = {"kind": stop.kind.value, "undo": stop.undo}
        self._append(run_id, "run.stopped", reason=stop.reason, body=body)

    def resume_run(self, run_id: str, actor: Actor, process: str, *, flow_run_id: str, reason: str) -> None:
        """Another process goes on with a run whose controller died.

        Raises:
            AuditError: the run is over.
        """
        self._actors[run_id] = actor
        body = {"process": process, "flow_run_id": flow_run_id}
        self._append(run_id, "run.resumed", reason=reason, body=body)

    def vouch(self, run_id: str, until: datetime) -> None:
        """The run's controller lives; without another word until then, others may take the run up."""
        try:
            with writing(self._engine) as connection:
                connection.execute(update(RunRow).where(col(RunRow.id) == run_id).values(lease_until=until.isoformat()))
        except SQLAlchemyError as error:
            raise trouble(self._url, error) from error

    def request_stop(self, run_id: str, actor: Actor, reason: str) -> None:
        """Somebody asks a run to start no more hosts."""
        self._append(run_id, "run.stop_requested", reason=reason, actor=actor)

    def change(
        self,
        action: str,
        apply: models.Change,
        *,
        actor: Actor,
        run_id: str = "",
        reason: str = "",
        body: Mapping[str, Any] | None = None,
    ) -> Event:
        """An event by `actor` together with what it changes in tables that others keep, in one transaction."""
        return self._append(run_id, action, reason=reason, body=body, actor=actor, apply=apply)

    def say(
        self,
        run_id: str,
        action: str,
        *,
        actor: Actor,
        stage: str = "",
        reason: str = "",
        body: Mapping[str, Any] | None = None,
    ) -> Event:
        """What somebody other than the one who conducts the run said about it."""
        return self._append(run_id, action, stage=stage, reason=reason, body=body, actor=actor)

    def _append(
        self,
        run_id: str,
        action: str,
        *,
        apply: models.Change | None = None,
        happening: Happening = Happening.NOTE,
        host: str = "",
        stage: str = "",
        step: Step | None = None,
        reason: str = "",
        body: Mapping[str, Any] | None = None,
        actor: Actor | None = None,
    ) -> Event:
        event = Event(
            seq=0,
            at=datetime.now(UTC),
            run=run_id,
            actor=actor or self._actors.get(run_id, UPKEEP),
            action=action,
            happening=happening,
            host=host,
            stage=stage,
            step=step,
            reason=reason,
            body=dict(body or {}),
        )
        written = self._writer.append(event, _bound(apply, event.at.isoformat()) if apply else None)
        for listener in list(self.listeners):
            self._tell(listener, written)
        return written

    def _tell(self, listener: Callable[[Event], None], event: Event) -> None:
        try:
            listener(event)
        except Exception:
            log.exception("a listener of the history failed; the event is written all the same")


def _bound(apply: models.Change, at: str) -> Beside:
    return lambda session: apply(session, at)
