"""A run as it is going: built from its events, shown on terminals and in artifacts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from upkeep.domain.change import HostOutcome, Step
from upkeep.domain.document import words
from upkeep.domain.record import Event, Happening

COLUMNS = (Step.CHECK, Step.BASELINE, Step.BACKUP, Step.FETCH, Step.SWITCH, Step.VERIFY, Step.COMMIT, Step.ROLLBACK)

_MARKS = {
    Happening.INTENT: "…",
    Happening.OK: "ok",
    Happening.FAILED: "failed",
    Happening.UNKNOWN: "?",
    Happening.NOTE: "-",
}

_GOOD = frozenset(
    {
        HostOutcome.COMMITTED,
        HostOutcome.ALREADY_CURRENT,
        HostOutcome.PASSED,
        HostOutcome.BACKED_UP,
        HostOutcome.PRESTAGED,
    }
)


@dataclass
class HostProgress:
    """One host's line."""

    stage: str = ""
    steps: dict[Step, Happening] = field(default_factory=dict)
    outcome: str = ""
    reason: str = ""

    @property
    def working_on(self) -> Step | None:
        """The step that has begun and not ended."""
        return next((step for step, happening in self.steps.items() if happening is Happening.INTENT), None)

    def mark(self, step: Step) -> str:
        """What a table shows for `step`."""
        happening = self.steps.get(step)
        return "" if happening is None else _MARKS[happening]


@dataclass
class Progress:
    """All hosts' lines and the stages so far."""

    hosts: dict[str, HostProgress] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    outcome: str = ""
    reason: str = ""
    started_at: datetime | None = None

    def take(self, event: Event) -> None:
        """Take in one event of the run."""
        if event.action == "run.opened":
            self.started_at = event.at
        elif event.action == "run.closed":
            self.outcome, self.reason = str(event.body.get("outcome", "")), event.reason
        elif event.action == "stage.opened":
            self.stages[event.stage] = "in work"
        elif event.action == "stage.closed":
            self.stages[event.stage] = str(event.body.get("verdict", "")) or "closed"
        if event.host:
            self._take_host(event)

    def _take_host(self, event: Event) -> None:
        host = self.hosts.setdefault(event.host, HostProgress())
        host.stage = event.stage or host.stage
        if event.step is not None and event.action.startswith("step."):
            host.steps[event.step] = event.happening
        if event.action == "host.result":
            host.outcome, host.reason = str(event.body.get("outcome", "")), event.reason

    def counts(self) -> dict[str, int]:
        """Hosts by outcome; those without one are `in work` or `waiting`."""
        return dict(Counter(h.outcome or ("in work" if h.working_on else "waiting") for h in self.hosts.values()))

    @property
    def done(self) -> int:
        """Hosts that have an outcome."""
        return sum(bool(host.outcome) for host in self.hosts.values())

    def left(self, now: datetime) -> str:
        """Time left as far as the pace so far tells, e.g. `about 3 min left`; empty before the first host is done."""
        if not self.started_at or not self.done or self.done == len(self.hosts):
            return ""
        pace = (now - self.started_at) / self.done
        return f"about {words(timedelta(seconds=round((pace * (len(self.hosts) - self.done)).total_seconds())))} left"

    def rows(self) -> list[dict[str, str]]:
        """Hosts x phases, for a table."""
        return [
            {
                "host": name,
                "stage": host.stage,
                **{step.value: host.mark(step) for step in COLUMNS},
                "outcome": host.outcome,
                "reason": host.reason,
            }
            for name, host in sorted(self.hosts.items())
        ]


def is_good(outcome: str) -> bool:
    """Whether a host outcome needs nobody's attention."""
    return outcome in _GOOD
