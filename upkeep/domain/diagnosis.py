"""Why a host lost its control centre: causes weighed by the evidence for and against them, layer by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from upkeep.domain.document import Document, Name, each_once
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import Pattern
from upkeep.domain.repairs import RepairKind


class Layer(StrEnum):
    """From the bottom up: what fails below explains what fails above it."""

    REACH = "controller to host"
    PROCESS = "process"
    RESOURCES = "resources"
    NAME = "name"
    ROUTE = "route"
    PORT = "port"
    PROXY = "proxy"
    MTU = "packet size"
    TLS = "TLS"
    LOGIN = "login"
    SESSION = "session"


LAYERS = tuple(Layer)
_BELOW_WEIGHT = 3.0
_DOUBT = 1.0
_LEAST = 2.0


class Sign(Document):
    """One piece of evidence: a finding with one of these verdicts, and, if given, a reason that matches."""

    check: Pattern = Field(description="Matches the whole id of a check")
    verdicts: tuple[Literal["pass", "warn", "fail", "unknown"], ...] = ("warn", "fail")
    says: Pattern | None = Field(None, description="Matches in the finding's reason")
    weight: float = Field(1, gt=0, description="2 tells by itself, 1 fits, 4 proves")

    def seen_in(self, finding: Finding) -> bool:
        """Whether a finding is this evidence."""
        fits = re.fullmatch(self.check, finding.check) and finding.verdict.value in self.verdicts
        return bool(fits) and (self.says is None or re.search(self.says, finding.reason) is not None)


class Cause(Document):
    """One thing that can be wrong."""

    id: Name
    layer: Layer
    title: str
    signs: tuple[Sign, ...] = Field(min_length=1, description="Evidence for it")
    against: tuple[Sign, ...] = ()
    remedy: str
    repairs: tuple[RepairKind, ...] = Field((), description="What removes it, in this order, where the plan allows it")
    serves: tuple[str, ...] = ("C2", "C6")


class Causes(Document):
    """A file of causes."""

    layers: dict[Layer, tuple[Pattern, ...]] = Field(
        default_factory=dict, description="Checks that tell how a layer is"
    )
    slows: tuple[Pattern, ...] = Field(
        (),
        description="Checks of a layer whose failing slows and breaks nothing: they speak against no cause further up",
    )
    causes: tuple[Cause, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_cause_twice(self) -> Self:
        each_once(cause.id for cause in self.causes)
        return self


@dataclass(frozen=True)
class Suspicion:
    """One cause with what speaks for and against it; confidence from 0 to 1."""

    cause: Cause
    confidence: float
    evidence: tuple[Finding, ...]
    against: tuple[Finding, ...]


@dataclass(frozen=True)
class LayerState:
    """How one layer is: the worst of what was asked, and what stands out."""

    layer: Layer
    verdict: Verdict
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What a host's findings come to."""

    layers: tuple[LayerState, ...]
    suspicions: tuple[Suspicion, ...]

    @property
    def likely(self) -> Suspicion | None:
        """The likeliest cause; None when nothing is wrong that is known of."""
        return self.suspicions[0] if self.suspicions else None


def diagnose(known: Causes, findings: Sequence[Finding]) -> Diagnosis:
    """Weigh every cause; the likeliest first, of equals the one nearer to the bottom."""
    layers = tuple(_layer(known, layer, findings) for layer in LAYERS)
    breaking = tuple(replace(state, findings=_breaking(known, state)) for state in layers)
    found = [one for cause in known.causes if (one := _weighed(cause, findings, breaking)) is not None]
    ranked = sorted(found, key=lambda one: (-round(one.confidence, 2), LAYERS.index(one.cause.layer), one.cause.id))
    return Diagnosis(layers, tuple(ranked))


def _weighed(cause: Cause, findings: Sequence[Finding], layers: Sequence[LayerState]) -> Suspicion | None:
    signs = [(sign, finding) for sign in cause.signs for finding in findings if sign.seen_in(finding)]
    support = _weight(signs)
    if support < _LEAST:
        return None
    against = [(sign, finding) for sign in cause.against for finding in findings if sign.seen_in(finding)]
    below = _broken_below(cause, layers, {finding.key for _, finding in signs})
    contradiction = _weight(against) + _BELOW_WEIGHT * bool(below)
    confidence = support / (support + contradiction + _DOUBT)
    return Suspicion(cause, confidence, _once([f for _, f in signs]), _once([*(f for _, f in against), *below]))


def _weight(seen: Sequence[tuple[Sign, Finding]]) -> float:
    """Each sign once, however many findings show it."""
    return sum({id(sign): sign.weight for sign, _ in seen}.values())


def _broken_below(cause: Cause, layers: Sequence[LayerState], own: set[str]) -> list[Finding]:
    """What is broken further down and may be the reason for all that is seen up here."""
    below = layers[: LAYERS.index(cause.layer)]
    return [f for state in below for f in state.findings if f.verdict is Verdict.FAIL and f.key not in own]


def _breaking(known: Causes, state: LayerState) -> tuple[Finding, ...]:
    return tuple(f for f in state.findings if not any(re.fullmatch(pattern, f.check) for pattern in known.slows))


def _layer(known: Causes, layer: Layer, findings: Sequence[Finding]) -> LayerState:
    patterns = known.layers.get(layer, ())
    asked = tuple(f for f in findings if any(re.fullmatch(pattern, f.check) for pattern in patterns))
    order = (Verdict.PASS, Verdict.WARN, Verdict.UNKNOWN, Verdict.FAIL)
    state = max((f.verdict for f in asked), key=order.index, default=Verdict.UNKNOWN)
    return LayerState(layer, state, asked)


def _once(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple({finding.key: finding for finding in findings}.values())
