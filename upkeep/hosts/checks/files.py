"""Modes and owners of the agent's files."""

from __future__ import annotations

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import FileRule
from upkeep.hosts.checks.platform import with_words
from upkeep.hosts.question import Answer, Question, bounded, unknown


def file(rule: FileRule) -> Question:
    """Has a file the mode and owner that the profile names?"""

    def judge(answer: Answer) -> list[Finding]:
        words = answer.text.split()
        if answer.exit_code != 0 or len(words) != 2:  # noqa: PLR2004 - mode and owner
            if "No such file" in answer.text or "absent" in answer.text:
                return [
                    _finding(
                        "file.mode", rule, None, "is missing", "restore it from a backup, or install the agent anew"
                    )
                ]
            return [unknown("file.mode", rule.path, "mode and owner cannot be read", evidence=answer.text)]
        mode, owner = words[0].zfill(4), words[1]
        findings = []
        if rule.mode is not None:
            good = mode == rule.mode
            findings.append(
                _finding(
                    "file.mode",
                    rule,
                    good,
                    f"has mode {mode}, it should be {rule.mode}",
                    f"chmod {rule.mode} {rule.path}",
                )
            )
        if rule.owner is not None:
            good = owner == rule.owner or (":" not in rule.owner and owner.split(":")[0] == rule.owner)
            findings.append(
                _finding(
                    "file.owner",
                    rule,
                    good,
                    f"belongs to {owner}, it should be {rule.owner}",
                    f"chown {rule.owner} {rule.path}",
                )
            )
        return findings or [_finding("file.mode", rule, good=True, bad="", remedy="")]

    script = 'if [ -e "$1" ]; then stat -L -c "%a %U:%G" -- "$1"; else echo absent; (exit 1); fi'
    return Question("file.mode", with_words(script, rule.path), judge, rule.path, plain=True, bare=True)


def _finding(check: str, rule: FileRule, good: bool | None, bad: str, remedy: str) -> Finding:  # noqa: FBT001 - reads as a sentence
    return Finding(
        check=check,
        subject=rule.path,
        verdict=Verdict.PASS if good else Verdict.FAIL,
        reason=bounded(f"{rule.path} is as it should be" if good else f"{rule.path} {bad}"),
        remedy="" if good else remedy,
    )
