"""The agent itself: which version lies there, which one runs, may it go to the release, who owns the host."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import Requirement, VersionProbe
from upkeep.domain.release import Release
from upkeep.domain.version import Version
from upkeep.hosts.checks.platform import with_words
from upkeep.hosts.checks.service import properties
from upkeep.hosts.fetches import Fetch
from upkeep.hosts.question import Answer, Question, unknown

GET = """
if command -v curl >/dev/null; then curl -sS --max-time 5 "$1"
elif command -v wget >/dev/null; then wget -q -O - -T 5 -t 1 "$1"
else (exit 127)
fi
"""

_GET_SECONDS = 5


def fetched(url: str) -> Fetch:
    """How curl is told what GET asks."""
    return Fetch(("-sS",), url, _GET_SECONDS)


def version_script(probe: VersionProbe) -> str:
    """What to run to have a version printed."""
    return shlex.join(probe.command) if probe.command else with_words(GET, probe.url)


def version_in(probe: VersionProbe, answer: Answer) -> str:
    """The version in an answer; empty when there is none."""
    match = re.search(probe.pattern, answer.text) if answer.exit_code == 0 else None
    return match[1] if match and match.groups() else ""


def installed(probe: VersionProbe, release: Release | None) -> Question:
    """Which version is installed, and may it go to the release?"""

    def judge(answer: Answer) -> list[Finding]:
        text = version_in(probe, answer)
        if not text:
            return [
                unknown(
                    "agent.installed_version", "", "the installed agent does not tell its version", evidence=answer.text
                )
            ]
        findings = [
            Finding(check="agent.installed_version", verdict=Verdict.PASS, reason=f"{text} is installed", evidence=text)
        ]
        return findings if release is None else [*findings, upgrade_path(release, text)]

    return Question("agent.installed_version", version_script(probe), judge, soon=True, bare=not probe.command)


def upgrade_path(release: Release, installed_text: str) -> Finding:
    """May this version go to the release directly?"""
    try:
        refused = release.upgrade_refused(Version.parse(installed_text))
    except ValueError:
        return unknown("agent.upgrade_path", "", f"'{installed_text}' is no version")
    remedy = f"bring this host to {release.via} first" if refused and release.via else "leave this host out of targets"
    return Finding(
        check="agent.upgrade_path",
        verdict=Verdict.FAIL if refused else Verdict.PASS,
        reason=refused or f"{installed_text} may go to {release.version}",
        remedy=remedy if refused else "",
    )


def running(probe: VersionProbe, expected: str = "") -> Question:
    """Which version does the running agent report? With `expected` it must be that one."""
    check = "agent.running_version"

    def judge(answer: Answer) -> Finding:
        if answer.missing and not probe.command:
            return unknown(check, "", "the host has neither curl nor wget", remedy="install curl on the host")
        text = version_in(probe, answer)
        if not text:
            return unknown(
                check,
                "",
                "the running agent does not tell its version",
                evidence=answer.text,
                remedy="look whether the agent runs",
            )
        if expected and not _same(text, expected):
            reason = f"the running agent reports {text}, it should be {expected}"
            return Finding(
                check=check,
                verdict=Verdict.FAIL,
                reason=reason,
                evidence=text,
                remedy="look which binary the unit starts",
            )
        return Finding(check=check, verdict=Verdict.PASS, reason=f"the running agent reports {text}", evidence=text)

    fetch = None if probe.command else fetched(probe.url)
    return Question(
        check, version_script(probe), judge, slow=not probe.command, soon=True, bare=not probe.command, fetch=fetch
    )


def requirement(row: Requirement) -> Question:
    """One row of the compatibility matrix."""
    check = f"compat.{row.id}"
    remedy = row.remedy or f"bring {row.id} to {row.recommended or row.minimum} or newer"

    def judge(answer: Answer) -> Finding:
        match = re.search(row.pattern, answer.text)
        if answer.missing or match is None:
            what = "is not there" if answer.missing else "does not tell its version"
            return unknown(check, "", f"{row.id} {what}", evidence=answer.text, remedy=remedy)
        try:
            found = Version.parse(match[1] if match.groups() else match[0])
        except ValueError:
            return unknown(check, "", f"'{match[0]}' is no version", evidence=answer.text, remedy=remedy)
        if row.minimum and found < Version.parse(row.minimum):
            return Finding(
                check=check,
                verdict=Verdict.FAIL,
                reason=f"{row.id} is {found}, at least {row.minimum} is needed",
                remedy=remedy,
            )
        if row.recommended and found < Version.parse(row.recommended):
            return Finding(
                check=check,
                verdict=Verdict.WARN,
                reason=f"{row.id} is {found}, {row.recommended} or newer is recommended",
                remedy=remedy,
            )
        return Finding(check=check, verdict=Verdict.PASS, reason=f"{row.id} is {found}")

    return Question(check, shlex.join(row.command), judge, soon=True)


def lock(upkeep_folder: str, run: str = "") -> Question:
    """Does another run own the host? Reads Upkeep's lock file and the host's clock."""

    def judge(answer: Answer) -> Finding:
        held = properties(answer.text)
        holder, until, at = held.get("run", ""), held.get("until", "0"), held.get("now", "")
        if not at.isdecimal():
            return unknown("host.lock", "", "the lock cannot be read", evidence=answer.text)
        free = not holder or holder == run or not until.isdecimal() or int(until) <= int(at)
        if free:
            return Finding(check="host.lock", verdict=Verdict.PASS, reason="no other run owns the host")
        since, end = _moment(held.get("since", "")), _moment(until)
        return Finding(
            check="host.lock",
            verdict=Verdict.FAIL,
            reason=f"run {holder} of {held.get('owner')} owns the host since {since}, until {end}: {held.get('reason')}",
            remedy=f"wait for it, or stop it: upkeep stop {holder}",
        )

    return Question(
        "host.lock",
        with_words('echo "now=${its_now:-$(date +%s)}"; [ ! -e "$1/lock" ] || cat "$1/lock"', upkeep_folder),
        judge,
        plain=True,
        bare=True,
    )


def _moment(text: str) -> str:
    """Seconds since 1970 for people."""
    if not text.isdecimal() or len(text) > 11:  # noqa: PLR2004 - later than the year 5138 is no time
        return "a time that cannot be read"
    return datetime.fromtimestamp(int(text), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _same(one: str, other: str) -> bool:
    try:
        return Version.parse(one) == Version.parse(other)
    except ValueError:
        return False
