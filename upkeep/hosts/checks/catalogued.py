"""The catalogue's checks as questions: looks that are shared by many, a site's own scripts, probes and settings."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from importlib import resources
from itertools import chain
from shlex import quote

from upkeep.domain.check import CONTROLLER, UNTOLD, Check, Line, judge
from upkeep.domain.finding import Finding
from upkeep.domain.profile import AgentProfile
from upkeep.hosts.checks import network
from upkeep.hosts.checks.certificates import tls
from upkeep.hosts.checks.metrics import metric
from upkeep.hosts.checks.platform import with_words
from upkeep.hosts.checks.service import PROPERTIES
from upkeep.hosts.question import Answer, Question

_FIELDS = 4
_ALONE = frozenset({"centre", "capture", "aid"})
"""Looks that wait for long; the rest share a shell and its time limit."""

_SLOW = frozenset({"processor", "centre", "slo", "replication", "queue", "capture"})
_LONGEST = {
    "centre": timedelta(seconds=45),
    "capture": timedelta(seconds=75),
    **dict.fromkeys(("files", "journal", "setting", "slo", "replication", "queue"), timedelta(seconds=20)),
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MORE_PROPERTIES = ("Restart", "DropInPaths", "ExecMainStartTimestampMonotonic")
_PROPERTIES = " ".join(f"-p {name}" for name in dict.fromkeys([*PROPERTIES, *_MORE_PROPERTIES]))
UNIT_SHOWN = "printf '%s\\n' \"$SHOWN\""
"""Prints what `systemctl show` said to all looks together."""


# Inspections come every night: what they ask must never be in the way of what the host is there for.
_HEAD = """
renice -n 10 -p $$ >/dev/null 2>&1; ionice -c 3 -p $$ >/dev/null 2>&1
R=${UPKEEP_LOOK_ROOT:-}; export R
SHOWN=$(echo; timeout 5 systemctl show %s "$UNIT" 2>/dev/null); export SHOWN
"""


@functools.cache
def look_script(name: str) -> str:
    """The sh of one look, with what all looks stand on."""
    folder = resources.files("upkeep.hosts") / "looks"
    return (folder / "prelude.sh").read_text("utf-8") + (folder / f"{name}.sh").read_text("utf-8")


RECENT = timedelta(minutes=15)
"""So far back a diagnosis reads the agent's journal."""


def head(profile: AgentProfile, recent: timedelta = RECENT) -> str:
    """What runs before every look: low priority, the agent's paths and unit as variables."""
    centre = profile.control_centre.url if profile.control_centre else ""
    address, port = address_of(centre)
    values = {
        "UNIT": profile.service.unit,
        "BINARY": profile.paths.binary,
        "CONFIG": "\n".join(profile.paths.config),
        "SECRETS": "\n".join(profile.paths.secrets),
        "RELEASES": profile.paths.releases,
        "CENTRE": address,
        "CENTRE_PORT": port,
        "RECENT": str(max(1, round(recent.total_seconds()))),
        "SETTINGS": with_words("", *chain.from_iterable(one.words(name) for name, one in profile.settings.items()))
        if profile.settings
        else "",
    }
    lines = [f"{name}={quote(value)}; export {name}" for name, value in values.items()]
    return "\n".join([*lines, _HEAD % _PROPERTIES])


def exported(checks: Iterable[Check], variables: Mapping[str, str]) -> str:
    """The host's variables that checks ask for, as V_NAME for every script."""
    names = sorted({name for check in checks for name in (*check.needs, *check.uses)})
    given = [name for name in names if variables.get(name) and _VARIABLE.fullmatch(name)]
    return "\n".join(f"V_{name}={quote(variables[name])}; export V_{name}" for name in given)


def address_of(url: str) -> tuple[str, str]:
    """Host and port of a URL; the port of its scheme where it names none."""
    rest = url.partition("://")[2].partition("/")[0]
    address, colon, port = rest.rpartition(":")
    if colon and port.isdecimal():
        return address.strip("[]"), port
    return rest.strip("[]"), "443" if url.startswith("https") else "80" if url else ""


def questions(checks: Iterable[Check], now: datetime | None = None) -> list[Question]:
    """All that asks on the host: one question a look, whichever checks read it, and one for every other check."""
    looks: dict[str, list[Check]] = defaultdict(list)
    alone: list[Question] = []
    for check in checks:
        if check.look == CONTROLLER:
            continue
        if check.look:
            looks[check.look].append(check)
        elif not check.built_in:
            alone.append(_alone(check, now))
    return [*(_look(name, readers) for name, readers in looks.items()), *alone]


def _look(name: str, readers: Sequence[Check]) -> Question:
    def read(answer: Answer) -> list[Finding]:
        lines = _lines(answer.text)
        return [finding for check in readers for finding in judge(check, lines.get(check.reads, ()))]

    return Question(
        f"look.{name}",
        look_script(name),
        read,
        timeout=_LONGEST.get(name, timedelta(seconds=10)),
        slow=name in _SLOW,
        plain=name not in _ALONE,
    )


def _lines(text: str) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = defaultdict(list)
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) == _FIELDS:
            found[parts[0]].append(Line(*(part.strip() for part in parts[1:])))
    return found


def _alone(check: Check, now: datetime | None) -> Question:
    probe = _probe(check, now)
    if probe is not None:
        return _renamed(probe, check)

    def read(answer: Answer) -> list[Finding]:
        if answer.exit_code != 0:
            why = f"the script ended with code {answer.exit_code}: {answer.text.strip()[-200:]}"
            return judge(check, [Line(UNTOLD, "", why)])
        rows = [[*line.split("\t"), "", ""] for line in answer.text.splitlines() if line.strip()]
        return judge(check, [Line(row[0].strip(), row[1].strip(), row[2].strip()) for row in rows])

    return Question(check.id, _own_script(check), read, timeout=check.timeout)


def _own_script(check: Check) -> str:
    if check.setting is None:
        return check.script
    wanted = quote(with_words("", *check.setting.words("value")))
    return f"SETTINGS={wanted} ALONE=1; export ALONE\n{look_script('setting')}"


def _probe(check: Check, now: datetime | None) -> Question | None:
    if check.http:
        return network.http(check.http)
    if check.tcp:
        return network.tcp(check.tcp)
    if check.dns:
        return network.dns(check.dns)
    if check.tls:
        return tls(check.tls, now)
    if check.command:
        return network.command(check.command)
    return metric(check.metric) if check.metric else None


def _renamed(probe: Question, check: Check) -> Question:
    """The probe's question under the check's own id, with its remedy where the site names one."""

    def read(answer: Answer) -> list[Finding]:
        judged = probe.judge(answer)
        found = [judged] if isinstance(judged, Finding) else list(judged)
        return [_as(check, finding) for finding in found]

    return Question(check.id, probe.script, read, probe.subject, probe.timeout, slow=probe.slow, plain=probe.plain)


def _as(check: Check, finding: Finding) -> Finding:
    changes: dict[str, object] = {"check": check.id}
    if check.remedy and finding.remedy:
        changes["remedy"] = check.remedy
    return finding.model_copy(update=changes)
