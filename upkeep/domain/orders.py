"""What the run engine orders, and what it is told in return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from upkeep.domain.change import HostResult
from upkeep.domain.facts import HostFacts
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding


@dataclass(frozen=True)
class Check:
    """Look at one host; answered by `Checked`."""

    host: str


@dataclass(frozen=True)
class Change:
    """Take one host through its transaction; answered by `Changed`."""

    host: str
    stage: str


@dataclass(frozen=True)
class Look:
    """Look at the stage's changed hosts and at the triggers' figures; answered by `Looked`."""

    stage: str
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class Undo:
    """Put one committed host back; answered by `Changed`."""

    host: str
    stage: str
    reason: str
    failure_class: FailureClass | None = None


Order = Check | Change | Look | Undo


@dataclass(frozen=True)
class Checked:
    """What a check found: `result` is set when the host needs no change or cannot have one; `down` when its agent was not running."""

    host: str
    facts: HostFacts | None = None
    result: HostResult | None = None
    down: bool = False


@dataclass(frozen=True)
class Changed:
    """What came of a change or an undo."""

    host: str
    result: HostResult


@dataclass(frozen=True)
class Looked:
    """What a look during soak found: per host what got worse, hosts that gave no answer, per trigger its figure (None: silent)."""

    stage: str
    worse: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    figures: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class StopAsked:
    """A person or a signal wants no further host to be started."""

    reason: str


Event = Checked | Changed | Looked | StopAsked
