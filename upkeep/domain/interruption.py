"""How far a run had come when its controller died, read from its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from upkeep.domain.change import HostOutcome, HostResult, Step
from upkeep.domain.engine import Interrupted, StageVerdict
from upkeep.domain.failure import FailureClass
from upkeep.domain.gate import Decision
from upkeep.domain.orders import Undo
from upkeep.domain.record import Event, Happening
from upkeep.domain.stages import StagePlan
from upkeep.domain.stopping import Stop, StopKind


def interrupted(events: Iterable[Event]) -> Interrupted | None:
    """What a run's events say; None when the stages were not planned yet, so that nothing was changed."""
    found = _Found()
    for event in events:
        found.take(event)
    return found.answer()


@dataclass
class _Found:
    stage_plan: StagePlan | None = None
    stop: Stop | None = None
    results: dict[str, HostResult] = field(default_factory=dict)
    verdicts: list[StageVerdict] = field(default_factory=list)
    begun: dict[str, str] = field(default_factory=dict)
    undoing: dict[str, str] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    worse: dict[str, str] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        if event.action == "run.planned":
            self.stage_plan = StagePlan.model_validate(event.body)
        elif event.action == "run.stopped":
            self.stop = Stop(StopKind(event.body["kind"]), event.reason, event.body["undo"])
        elif event.action == "stage.closed":
            self.verdicts.append(StageVerdict(event.stage, Decision(event.body["verdict"]), event.reason))
        elif event.action == "stage.looked":
            self.worse |= {host: reasons[0] for host, reasons in event.body.get("worse", {}).items() if reasons}
        elif event.action == "host.result":
            self.results[event.host] = HostResult.model_validate(event.body | {"reason": event.reason})
            self.begun.pop(event.host, None)
            self.undoing.pop(event.host, None)
        elif event.step is not None:
            self._take_step(event, event.step)

    def _take_step(self, event: Event, step: Step) -> None:
        if step is Step.CHECK and not event.stage:
            if event.happening is Happening.OK and not event.body.get("facts", {}).get("service_active", True):
                self.down.add(event.host)
        elif event.happening is not Happening.INTENT:
            return
        elif event.host not in self.results:
            self.begun[event.host] = event.stage
        elif self.results[event.host].outcome is HostOutcome.COMMITTED and step in {Step.LOCK, Step.ROLLBACK}:
            self.undoing[event.host] = event.stage

    def answer(self) -> Interrupted | None:
        if self.stage_plan is None:
            return None
        return Interrupted(
            stage_plan=self.stage_plan,
            results=self.results,
            verdicts=tuple(self.verdicts),
            begun=tuple(self.begun),
            undoing=tuple(self._undo(host, stage) for host, stage in (self._found_worse() | self.undoing).items()),
            down=tuple(self.down),
            stop=self.stop,
        )

    def _found_worse(self) -> dict[str, str]:
        """Hosts that got worse and had no turn to go back yet, and their stages."""
        stages = self.stage_plan.stages if self.stage_plan else ()
        return {
            host: stage.name
            for stage in stages
            for host in stage.hosts
            if host in self.worse and host in self.results and self.results[host].outcome is HostOutcome.COMMITTED
        }

    def _undo(self, host: str, stage: str) -> Undo:
        """A host that got worse still counts as a failure of the change, whoever ends its way back."""
        if host in self.worse:
            return Undo(host, stage, f"got worse after the change: {self.worse[host]}", FailureClass.REGRESS)
        why = self.stop.reason if self.stop else "it was being put back when the run's controller died"
        return Undo(host, stage, why)
