"""Before and after: a host's figures beside each other (U10)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from upkeep.domain.finding import Finding, Verdict


@dataclass(frozen=True)
class BeforeAfter:
    """One row of a before/after table."""

    figure: str
    before: float | None
    after: float
    unit: str
    verdict: Verdict

    @property
    def change_pct(self) -> float | None:
        """Change in per cent; None without two figures or from zero."""
        return 100 * (self.after - self.before) / self.before if self.before else None

    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as texts: figure, before, after, change, verdict."""
        before = "" if self.before is None else f"{self.before:.6g} {self.unit}".strip()
        change = "" if self.change_pct is None else f"{self.change_pct:+.0f} %"
        return self.figure, before, f"{self.after:.6g} {self.unit}".strip(), change, self.verdict.value


def before_after(before: Iterable[Finding], after: Iterable[Finding]) -> list[BeforeAfter]:
    """Every figure that was read after the change, beside the one before it."""
    earlier = {finding.key: finding.value for finding in before}
    return [BeforeAfter(f.key, earlier.get(f.key), f.value, f.unit, f.verdict) for f in after if f.value is not None]
