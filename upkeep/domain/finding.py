"""Findings: one question to one host and its answer."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import Field

from upkeep.domain.document import Document


class Verdict(StrEnum):
    """How a check ended. `unknown` (no answer, timed out, unreadable) is never good enough to go on."""

    PASS = "pass"  # noqa: S105 - a verdict
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


_SEVERITY = {Verdict.PASS: 0, Verdict.WARN: 1, Verdict.UNKNOWN: 2, Verdict.FAIL: 3}


class Finding(Document):
    """The answer of one check on one host."""

    check: str = Field(description="Stable dotted id, e.g. host.disk.free")
    subject: str = Field("", description="What of several things was asked about: a path, a port, a name")
    verdict: Verdict
    reason: str = Field(description="One sentence: what is the case and what should be")
    evidence: str = Field("", description="What was read, bounded")
    remedy: str = Field("", description="What to do; empty for a pass")
    value: float | None = Field(None, description="The figure behind the verdict, for before/after tables")
    unit: str = ""
    signatures: tuple[str, ...] = Field(
        (), description="For log scans: what kinds of lines were seen, so that a baseline can be subtracted"
    )

    @property
    def key(self) -> str:
        """`check` or `check:subject`: what a baseline is compared by."""
        return f"{self.check}:{self.subject}" if self.subject else self.check

    @property
    def blocks(self) -> bool:
        """Whether a host may not be changed with this finding: fail and unknown do, warn does not."""
        return self.verdict in {Verdict.FAIL, Verdict.UNKNOWN}


def worst(findings: Iterable[Finding]) -> Verdict:
    """The worst verdict: fail, then unknown, then warn; without any finding unknown."""
    return max((f.verdict for f in findings), key=_SEVERITY.__getitem__, default=Verdict.UNKNOWN)


def blockers(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings that keep a host from being changed, fails first, else in the order they were asked."""
    return tuple(sorted((f for f in findings if f.blocks), key=lambda f: -_SEVERITY[f.verdict]))


def regressions(baseline: Iterable[Finding], now: Iterable[Finding]) -> tuple[Finding, ...]:
    """What got worse against the host's own baseline; what was bad before is not blamed on the change.

    A finding without a counterpart in the baseline counts as if it had passed there. A log finding that failed before as well
    counts only when it has signatures the baseline did not have.
    """
    before = {f.key: f for f in baseline}
    return tuple(f for f in now if f.blocks and _got_worse(before.get(f.key), f))


def _got_worse(before: Finding | None, now: Finding) -> bool:
    if before is None or _SEVERITY[now.verdict] > _SEVERITY[before.verdict]:
        return True
    return bool(set(now.signatures) - set(before.signatures))
