"""What is written down of one host at a time or of many together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from upkeep.domain.change import HostResult
from upkeep.domain.finding import Finding, worst


@dataclass(frozen=True)
class OfHost:
    """An event of one host, before it is part of the history."""

    host: str
    action: str
    reason: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)


def result_of(host: str, result: HostResult) -> OfHost:
    """What came of a host."""
    return OfHost(host, "host.result", result.reason, result.model_dump(mode="json", exclude={"reason"}))


def found_on(host: str, phase: str, findings: Sequence[Finding]) -> OfHost:
    """What was found on a host in one phase; there is at least one finding."""
    listed = [finding.model_dump(mode="json", exclude_defaults=True) for finding in findings]
    return OfHost(host, "host.findings", body={"phase": phase, "worst": worst(findings).value, "findings": listed})
