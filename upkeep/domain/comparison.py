"""Before and after: a host's figures beside each other (U10), and what was found again and again told once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from upkeep.domain.finding import Finding, Verdict


@dataclass(frozen=True)
class BeforeAfter:
    """One row of a before/after table; `first` was read at the first look after the change, `after` at the last one."""

    figure: str
    before: float | None
    after: float
    unit: str
    verdict: Verdict
    first: float
    looks: int = 1

    @property
    def change_pct(self) -> float | None:
        """Change in per cent; None without two figures or from zero."""
        return 100 * (self.after - self.before) / self.before if self.before else None

    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as texts: figure, before, after, change, verdict."""
        before = "" if self.before is None else f"{self.before:.6g} {self.unit}".strip()
        change = "" if self.change_pct is None else f"{self.change_pct:+.0f} %"
        return self.figure, before, self._after(), change, self.verdict.value

    def _after(self) -> str:
        last = f"{self.after:.6g} {self.unit}".strip()
        return last if self.looks == 1 else f"{self.first:.6g} at first, {last} at last ({self.looks} looks)"


def before_after(before: Iterable[Finding], after: Iterable[Finding]) -> list[BeforeAfter]:
    """Every figure that was read after the change, once, beside the one before it."""
    earlier = {finding.key: finding.value for finding in before}
    looks: dict[str, list[tuple[float, Finding]]] = defaultdict(list)
    for finding in after:
        if finding.value is not None:
            looks[finding.key].append((finding.value, finding))
    return [_row(key, earlier.get(key), seen) for key, seen in looks.items()]


def _row(key: str, before: float | None, looks: list[tuple[float, Finding]]) -> BeforeAfter:
    value, last = looks[-1]
    return BeforeAfter(key, before, value, last.unit, last.verdict, looks[0][0], len(looks))


@dataclass(frozen=True)
class Seen:
    """One check's answer as long as its verdict stayed the same; the finding is the last of them."""

    phase: str
    finding: Finding
    times: int = 1

    @property
    def when(self) -> str:
        """The phase, and how often."""
        return self.phase if self.times == 1 else f"{self.phase}, {self.times} times"


def told_once(found: Iterable[tuple[str, Finding]]) -> list[Seen]:
    """Findings by phase, in order, without repeating what stayed as it was; every change of a verdict is a line of its own."""
    lines: list[Seen] = []
    newest: dict[tuple[str, str], int] = {}
    for phase, finding in found:
        at = newest.get((phase, finding.key))
        if at is not None and lines[at].finding.verdict is finding.verdict:
            lines[at] = Seen(phase, finding, lines[at].times + 1)
            continue
        newest[phase, finding.key] = len(lines)
        lines.append(Seen(phase, finding))
    return lines
