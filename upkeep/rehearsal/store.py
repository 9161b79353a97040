"""A simulated history: append-only, survives its writer, and can refuse to be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from upkeep.domain.change import HostResult, Step
from upkeep.domain.engine import StageVerdict
from upkeep.domain.orders import Undo
from upkeep.domain.record import Happening
from upkeep.domain.stages import StagePlan
from upkeep.domain.stopping import Stop
from upkeep.errors import AuditError


@dataclass(frozen=True)
class Line:
    """One line of history."""

    seq: int
    at: datetime
    run: str
    action: str
    happening: Happening
    host: str = ""
    stage: str = ""
    step: Step | None = None
    body: Mapping[str, object] = field(default_factory=dict)


@dataclass
class RunLines:
    """What the history knows of one run; nothing in it lives anywhere else."""

    stage_plan: StagePlan | None = None
    opened_stages: list[str] = field(default_factory=list)
    verdicts: list[StageVerdict] = field(default_factory=list)
    results: dict[str, HostResult] = field(default_factory=dict)
    intended: set[tuple[str, Step]] = field(default_factory=set)
    begun: dict[str, str] = field(default_factory=dict)
    undoing: dict[str, Undo] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    stop: Stop | None = None
    outcome: str = ""
    reason: str = ""


class Store:
    """The history of all runs. `refuses` is asked before every write: a reason makes the write fail."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.lines: list[Line] = []
        self.runs: dict[str, RunLines] = {}
        self.writes = 0
        self.refuses: Callable[[int], str] = lambda _write: ""

    def intent(self, run: str, host: str, step: Step, stage: str) -> None:
        """A step is about to begin."""
        self._append(run, f"step.{step}", Happening.INTENT, host=host, stage=stage, step=step)
        lines = self.runs[run]
        lines.intended.add((host, step))
        if stage and host not in lines.results:
            lines.begun[host] = stage

    def ended(self, run: str, host: str, step: Step, stage: str, error: str = "") -> None:
        """A step is over."""
        happening = Happening.FAILED if error else Happening.OK
        self._append(run, f"step.{step}", happening, host=host, stage=stage, step=step, body={"error": error})

    def result(self, run: str, host: str, result: HostResult) -> None:
        """What came of a host."""
        self._append(run, "host.result", Happening.NOTE, host=host, body={"result": result})
        lines = self.runs[run]
        lines.results[host] = result
        lines.begun.pop(host, None)
        lines.undoing.pop(host, None)

    def undo(self, run: str, order: Undo) -> None:
        """A committed host is about to be put back."""
        self._append(run, "host.undo", Happening.INTENT, host=order.host, stage=order.stage, body={"order": order})
        self.runs[run].undoing[order.host] = order

    def found_down(self, run: str, host: str) -> None:
        """The host's agent did not run before anything was done."""
        self._append(run, "host.down", Happening.NOTE, host=host)
        self.runs[run].down.add(host)

    def run_opened(self, run: str) -> None:
        """A run begins."""
        self.runs.setdefault(run, RunLines())
        self._append(run, "run.opened", Happening.NOTE)

    def staged(self, run: str, plan: StagePlan) -> None:
        """The stages are frozen."""
        self._append(run, "run.staged", Happening.NOTE, body={"stages": plan})
        self.runs[run].stage_plan = plan

    def stage_opened(self, run: str, stage: str) -> None:
        """A stage begins."""
        self._append(run, "stage.opened", Happening.NOTE, stage=stage)
        self.runs[run].opened_stages.append(stage)

    def stage_closed(self, run: str, verdict: StageVerdict, stop: Stop | None) -> None:
        """A stage is over, and the run with it when it stops."""
        self._append(
            run, "stage.closed", Happening.NOTE, stage=verdict.stage, body={"verdict": verdict.decision, "stop": stop}
        )
        self.runs[run].verdicts.append(verdict)
        self.runs[run].stop = stop

    def run_closed(self, run: str, outcome: str, reason: str) -> None:
        """A run is over."""
        self._append(run, "run.closed", Happening.NOTE, body={"outcome": outcome, "reason": reason})
        self.runs[run].outcome, self.runs[run].reason = outcome, reason

    def _append(
        self,
        run: str,
        action: str,
        happening: Happening,
        *,
        host: str = "",
        stage: str = "",
        step: Step | None = None,
        body: Mapping[str, object] | None = None,
    ) -> None:
        self.writes += 1
        if reason := self.refuses(self.writes):
            raise AuditError(f"the history cannot be written: {reason}")
        self.lines.append(Line(len(self.lines) + 1, self._now(), run, action, happening, host, stage, step, body or {}))
