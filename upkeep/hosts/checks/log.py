"""The agent's journal: which kinds of error lines are in it."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile
from upkeep.hosts.checks.platform import with_words
from upkeep.hosts.question import Answer, Question, bounded, unknown

CHECK = "log.errors"
MOST_LINES = 2000
MOST_SIGNATURES = 50

_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\b(?:0x)?[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)*"), "<n>"),
)

# `start`: since the main process began, by the kernel's uptime, to a hundredth of a second: the lines of the process before
# it must not be blamed on it. -N: the last N seconds.
_READ = r"""
if [ "$2" = start ]; then
    began=$(systemctl show "$1" -p ExecMainStartTimestampMonotonic)
    began=${began#*=}
    now=$(date +%s%N)
    IFS='. ' read -r up hundredths _ </proc/uptime
    at=$((${now%???????} - up * 100 - ${hundredths#0} + ${began:-0} / 10000 + 1))
    since=$((at / 100)).$(printf %02d $((at % 100)))
else
    since=$(($(date +%s) + $2))
fi
journalctl -u "$1" --since "@$since" -o cat --no-pager -n "$3"
"""


def errors(profile: AgentProfile, plan: Plan, *, since: str) -> Question:
    """Which error lines are there? Lines that the profile or the plan knows are left out."""
    unit = profile.service.unit
    script = with_words(_READ, unit, since, str(MOST_LINES))
    return Question(
        CHECK,
        script,
        lambda answer: judge_log(profile, plan, answer),
        unit,
        timedelta(seconds=20),
        plain=True,
        bare=True,
    )


def judge_log(profile: AgentProfile, plan: Plan, answer: Answer) -> Finding:
    """Judge journal lines; the kinds of errors are the finding's signatures, so that a baseline's can be taken off."""
    unit = profile.service.unit
    if answer.missing or (answer.exit_code != 0 and not answer.text.strip()):
        return unknown(
            CHECK,
            unit,
            "the journal cannot be read",
            evidence=answer.text,
            remedy="give the login the right to read the journal",
        )
    known = [re.compile(pattern) for pattern in (*profile.log.ignore, *plan.known_errors)]
    wrong = [
        line
        for line in answer.text.splitlines()
        if re.search(profile.log.error, line) and not any(p.search(line) for p in known)
    ]
    kinds = Counter(signature(line) for line in wrong)
    good = len(wrong) <= profile.log.at_most
    return Finding(
        check=CHECK,
        subject=unit,
        verdict=Verdict.PASS if good else Verdict.FAIL,
        reason=f"{len(wrong)} error lines of {len(kinds)} kinds, at most {profile.log.at_most} are accepted",
        evidence=bounded("\n".join(wrong[-5:])),
        remedy="" if good else f"read them: journalctl -u {unit}; known ones go into known_errors of the plan",
        value=float(len(wrong)),
        signatures=tuple(kind for kind, _ in kinds.most_common(MOST_SIGNATURES)),
    )


def signature(line: str) -> str:
    """A line's kind: numbers, times and ids folded."""
    for varying, name in _VARYING:
        line = varying.sub(name, line)
    return line.strip()[:200]
