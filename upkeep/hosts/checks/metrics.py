"""Figures before and after a change: read on the host, compared with the host's own baseline (U10)."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from datetime import timedelta

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import AgentProfile, Metric
from upkeep.hosts.checks.agent import GET, fetched
from upkeep.hosts.checks.platform import with_words
from upkeep.hosts.question import Answer, Question, ask, bounded, unknown
from upkeep.hosts.transport import Transport

LOOKS_AGAIN = 3
APART = timedelta(seconds=3)
"""A figure that is worse is asked again so often and so long apart: one bad moment puts no host back."""


def metric(wanted: Metric) -> Question:
    """What is the figure now, and is it within its own limit?"""
    check = f"metric.{wanted.id}"

    def judge(answer: Answer) -> Finding:
        match = re.search(wanted.pattern, answer.text) if answer.exit_code == 0 else None
        value = _number(match[1]) if match and match.groups() else None
        if value is None:
            return unknown(check, "", f"{wanted.id} cannot be read", evidence=answer.text)
        good = wanted.at_most is None or value <= wanted.at_most
        limit = "" if wanted.at_most is None else f", at most {wanted.at_most:g} is accepted"
        return Finding(
            check=check,
            verdict=Verdict.PASS if good else Verdict.FAIL,
            reason=f"{wanted.id} is {value:g} {wanted.unit}".strip() + limit,
            remedy="" if good else "look what changed; the plan or profile sets the limit",
            value=value,
            unit=wanted.unit,
        )

    script = shlex.join(wanted.command) if wanted.command else with_words(GET, wanted.url)
    asks = not wanted.command
    fetch = fetched(wanted.url) if asks else None
    return Question(check, script, judge, slow=asks, soon=asks, bare=asks, fetch=fetch)


def compared(profile: AgentProfile, before: Sequence[Finding], after: Sequence[Finding]) -> list[Finding]:
    """The findings after a change, with every figure that got worse than its limit allows turned into a fail."""
    limits = {f"metric.{m.id}": m for m in profile.metrics if m.worse_by_pct is not None}
    earlier = {finding.key: finding for finding in before}
    return [_against(finding, earlier.get(finding.key), limits.get(finding.check)) for finding in after]


def lasting(
    transport: Transport,
    profile: AgentProfile,
    before: Sequence[Finding],
    after: Sequence[Finding],
    *,
    become: bool,
    apart: timedelta = APART,
) -> list[Finding]:
    """The findings after a change, compared; a figure that is worse than it may be is asked again, and fails only if it stays so.

    Raises:
        HostError: the host could not be asked.
    """
    found = compared(profile, before, after)
    for _ in range(LOOKS_AGAIN):
        worse = [m for m in profile.metrics if _fails(found, f"metric.{m.id}")]
        if not worse:
            return found
        again = ask(transport, [metric(m) for m in worse], become=become, head=f"sleep {apart.total_seconds():g}")
        newer = {finding.key: finding for finding in compared(profile, before, again)}
        found = [newer.get(finding.key, finding) for finding in found]
    return [_stayed(finding) if finding.check.startswith("metric.") else finding for finding in found]


def _fails(found: Sequence[Finding], check: str) -> bool:
    return any(finding.check == check and finding.verdict is Verdict.FAIL for finding in found)


def _stayed(finding: Finding) -> Finding:
    if finding.verdict is not Verdict.FAIL:
        return finding
    return finding.model_copy(update={"reason": bounded(f"{finding.reason}; so in {LOOKS_AGAIN + 1} looks in a row")})


def _against(now: Finding, before: Finding | None, limit: Metric | None) -> Finding:
    if limit is None or limit.worse_by_pct is None or before is None or before.value is None or now.value is None:
        return now
    if before.value == 0:
        return _against_zero(now, now.value, limit)
    change_pct = 100 * (now.value - before.value) / before.value
    worse_pct = change_pct if limit.higher_is_worse else -change_pct
    if worse_pct <= limit.worse_by_pct:
        return now
    reason = f"{limit.id} went from {before.value:g} to {now.value:g} {now.unit}".strip()
    return now.model_copy(
        update={
            "verdict": Verdict.FAIL,
            "reason": bounded(f"{reason}: {worse_pct:.0f} % worse, at most {limit.worse_by_pct:g} % is accepted"),
            "remedy": "look what changed; the profile sets the limit",
        },
    )


def _against_zero(now: Finding, value: float, limit: Metric) -> Finding:
    """A share of nothing cannot be told: only a limit in numbers can say whether the figure is still good."""
    worse = value > 0 if limit.higher_is_worse else value < 0
    if limit.at_most is not None or not worse:
        return now
    return now.model_copy(
        update={
            "verdict": Verdict.UNKNOWN,
            "reason": bounded(
                f"{limit.id} went from 0 to {value:g} {now.unit}".strip() + "; a share of 0 cannot be told"
            ),
            "remedy": f"give at_most for {limit.id} in the profile: what is accepted where it was 0 before",
        },
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
