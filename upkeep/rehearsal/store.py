"""A simulated history: the events a real one would hold; it survives its writer and can refuse to be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from upkeep.domain.change import HostResult, RunOutcome, Step
from upkeep.domain.engine import StageVerdict
from upkeep.domain.facts import HostFacts
from upkeep.domain.orders import Looked
from upkeep.domain.record import Actor, Event, Happening
from upkeep.domain.stages import StagePlan
from upkeep.domain.stopping import Stop
from upkeep.errors import AuditError

SIMULATED = Actor(name="rehearsal", kind="upkeep")


@dataclass
class RunLines:
    """One run's events, and what was read from them on the way."""

    events: list[Event] = field(default_factory=list)
    intended: set[tuple[str, Step]] = field(default_factory=set)
    results: dict[str, HostResult] = field(default_factory=dict)
    opened_stages: set[str] = field(default_factory=set)
    outcome: RunOutcome | None = None
    reason: str = ""


class Store:
    """The history of all runs. `refuses` is asked before every write: a reason makes the write fail."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.runs: dict[str, RunLines] = {}
        self.lines: list[Event] = []
        self.writes = 0
        self.refuses: Callable[[int], str] = lambda _write: ""

    def run_opened(self, run: str) -> None:
        """A run begins."""
        self._append(run, "run.opened")

    def run_closed(self, run: str, outcome: RunOutcome, reason: str) -> None:
        """A run is over."""
        self._append(run, "run.closed", reason=reason, body={"outcome": outcome.value})
        self.runs[run].outcome, self.runs[run].reason = outcome, reason

    def intent(self, run: str, host: str, step: Step, stage: str) -> None:
        """A step is about to begin."""
        self._append(run, f"step.{step.value}", happening=Happening.INTENT, host=host, stage=stage, step=step)
        self.runs[run].intended.add((host, step))

    def ended(
        self, run: str, host: str, step: Step, stage: str, *, error: str = "", facts: HostFacts | None = None
    ) -> None:
        """A step is over."""
        happening = Happening.FAILED if error else Happening.OK
        body = {"facts": {"service_active": facts.service_active}} if facts else {}
        self._append(
            run, f"step.{step.value}", happening=happening, host=host, stage=stage, step=step, reason=error, body=body
        )

    def result(self, run: str, host: str, result: HostResult) -> None:
        """What came of a host."""
        body = result.model_dump(mode="json", exclude={"reason"})
        self._append(run, "host.result", host=host, reason=result.reason, body=body)
        self.runs[run].results[host] = result

    def planned(self, run: str, plan: StagePlan) -> None:
        """The stages are frozen."""
        self._append(run, "run.planned", body=plan.model_dump(mode="json"))

    def stopped(self, run: str, stop: Stop) -> None:
        """No further host is started."""
        self._append(run, "run.stopped", reason=stop.reason, body={"kind": stop.kind.value, "undo": stop.undo})

    def stage_opened(self, run: str, stage: str) -> None:
        """A stage begins."""
        self._append(run, "stage.opened", stage=stage)
        self.runs[run].opened_stages.add(stage)

    def stage_closed(self, run: str, verdict: StageVerdict) -> None:
        """A stage's gate has decided."""
        body = {"verdict": verdict.decision.value}
        self._append(run, "stage.closed", stage=verdict.stage, reason=verdict.reason, body=body)

    def looked(self, run: str, seen: Looked) -> None:
        """What a look at a stage has shown."""
        worse = {host: [finding.reason for finding in findings] for host, findings in seen.worse.items()}
        self._append(run, "stage.looked", stage=seen.stage, body={"worse": worse, "silent": list(seen.silent)})

    def _append(
        self,
        run: str,
        action: str,
        *,
        happening: Happening = Happening.NOTE,
        host: str = "",
        stage: str = "",
        step: Step | None = None,
        reason: str = "",
        body: Mapping[str, Any] | None = None,
    ) -> None:
        self.writes += 1
        if why := self.refuses(self.writes):
            raise AuditError(f"the history cannot be written: {why}")
        event = Event.model_construct(
            seq=len(self.lines) + 1,
            at=self._now(),
            run=run,
            actor=SIMULATED,
            action=action,
            happening=happening,
            host=host,
            stage=stage,
            step=step,
            reason=reason,
            body=dict(body or {}),
        )
        self.lines.append(event)
        self.runs.setdefault(run, RunLines()).events.append(event)
