"""One run told from its events: what a reader of the evidence pack sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from upkeep.audit.reading import RunDetail
from upkeep.domain.change import HostOutcome
from upkeep.domain.comparison import BeforeAfter, before_after
from upkeep.domain.explain import explain
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.record import Event, Happening
from upkeep.domain.stages import StagePlan

GOOD = frozenset(
    {
        HostOutcome.COMMITTED,
        HostOutcome.ALREADY_CURRENT,
        HostOutcome.PASSED,
        HostOutcome.BACKED_UP,
        HostOutcome.PRESTAGED,
    }
)
_DEVIATIONS = {
    "run.stopped": "no further host was started",
    "run.stop_requested": "somebody asked the run to stop",
    "run.resumed": "another process went on with the run",
    "run.orphaned": "the run's controller died",
    "host.guard_acted": "a host's dead-man switch put it back",
}


@dataclass
class Tried:
    """One try of one step on one host; without an end nobody knows what came of it."""

    begun: Event
    ended: Event | None = None

    @property
    def result(self) -> str:
        """In a word."""
        return self.ended.happening.value if self.ended else "no result"

    @property
    def commands(self) -> list[dict[str, Any]]:
        """What ran on the host meanwhile."""
        return list(self.ended.body.get("commands", [])) if self.ended else []

    @property
    def notes(self) -> dict[str, Any]:
        """What else it wrote down."""
        return {key: value for key, value in self.ended.body.items() if key != "commands"} if self.ended else {}


@dataclass
class Noted:
    """One finding, and when it was made."""

    phase: str
    at: datetime
    finding: Finding


@dataclass
class StageStory:
    """One stage from its opening to its verdict."""

    name: str
    hosts: list[str]
    opened: datetime
    closed: datetime | None = None
    verdict: str = "open"
    reason: str = ""


@dataclass
class HostStory:
    """One host through the run."""

    name: str
    stage: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    tries: list[Tried] = field(default_factory=list)
    findings: list[Noted] = field(default_factory=list)
    backups: list[dict[str, Any]] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """In a word; 'no result' while it has none."""
        return str(self.result.get("outcome", "no result"))

    @property
    def figures(self) -> list[BeforeAfter]:
        """Before the change and after it; of a figure that was read again and again, the last."""
        phases = [[one.finding for one in self.findings if one.phase == phase] for phase in ("baseline", "verify")]
        return before_after(*phases)

    @property
    def objections(self) -> list[Noted]:
        """What was not found to be right."""
        return [one for one in self.findings if one.finding.verdict is not Verdict.PASS]


@dataclass(frozen=True)
class Deviation:
    """Something that did not go as planned, or that a person did otherwise."""

    at: datetime
    seq: int
    what: str
    who: str
    why: str


class Story:
    """Everything the page shows, in the order it happened."""

    def __init__(self, detail: RunDetail, events: Sequence[Event]) -> None:
        self.run, self.record, self.events = detail, detail.record, events
        self.opened, self.last = events[0], events[-1]
        self.stages: list[StageStory] = []
        self.hosts: dict[str, HostStory] = {host.name: HostStory(host.name) for host in detail.record.targets}
        self.sentences: list[str] = []
        for event in events:
            self._take(event)
        self.deviations = sorted(self._deviations(), key=lambda one: one.seq)

    @property
    def closed(self) -> Event | None:
        """The event that ended the run."""
        return next((event for event in reversed(self.events) if event.action == "run.closed"), None)

    @property
    def approvals(self) -> list[Event]:
        """What was asked of people, and what they said, in order."""
        return [event for event in self.events if event.action.startswith("approval.")]

    @property
    def counts(self) -> dict[str, int]:
        """Hosts by outcome."""
        outcomes = [host.outcome for host in self.hosts.values()]
        return {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}

    def place(self, moment: datetime) -> float:
        """Where on a time line of 1000 a moment lies."""
        whole = (self.last.at - self.opened.at).total_seconds()
        return round(1000 * (moment - self.opened.at).total_seconds() / whole, 1) if whole else 0.0

    def _take(self, event: Event) -> None:
        if event.action == "run.planned":
            self._take_plan(event)
        elif event.action.startswith("stage."):
            self._take_stage(event)
        elif event.host:
            self._take_host(event, self.hosts.setdefault(event.host, HostStory(event.host)))

    def _take_plan(self, event: Event) -> None:
        stages = StagePlan.model_validate(event.body)
        size = self.record.fleet_size or len(self.record.targets)
        self.sentences = explain(self.record.plan, stages, release=self.record.release, fleet_size=size)

    def _take_stage(self, event: Event) -> None:
        if event.action == "stage.opened":
            self.stages.append(StageStory(event.stage, event.body["hosts"], event.at))
        elif event.action == "stage.closed":
            stage = next(one for one in reversed(self.stages) if one.name == event.stage)
            stage.closed, stage.verdict, stage.reason = event.at, event.body["verdict"], event.reason

    def _take_host(self, event: Event, host: HostStory) -> None:
        host.stage = event.stage or host.stage
        if event.step:
            _take_step(event, host)
        elif event.action == "host.result":
            host.result, host.reason = event.body, event.reason
        elif event.action == "host.findings":
            found = map(Finding.model_validate, event.body["findings"])
            host.findings += [Noted(event.body["phase"], event.at, one) for one in found]
        elif event.action == "host.backup":
            host.backups.append(event.body)

    def _deviations(self) -> Iterable[Deviation]:
        for event in self.events:
            if event.action in _DEVIATIONS:
                yield Deviation(event.at, event.seq, _DEVIATIONS[event.action], event.actor.name, event.reason)
            elif event.happening in {Happening.FAILED, Happening.UNKNOWN}:
                what = f"{event.host}: step {event.step} ended as {event.happening}"
                yield Deviation(event.at, event.seq, what, "upkeep", event.reason)
            elif event.action == "host.result" and event.body["outcome"] not in GOOD:
                yield Deviation(event.at, event.seq, f"{event.host}: {event.body['outcome']}", "upkeep", event.reason)
        for host in self.hosts.values():
            for tried in host.tries:
                if tried.ended is None:
                    what = f"{host.name}: nobody knows what came of step {tried.begun.step}"
                    yield Deviation(tried.begun.at, tried.begun.seq, what, "upkeep", "")


def _take_step(event: Event, host: HostStory) -> None:
    if event.happening is Happening.INTENT:
        host.tries.append(Tried(event))
        return
    begun = next((one for one in reversed(host.tries) if one.begun.step is event.step and one.ended is None), None)
    if begun:
        begun.ended = event
