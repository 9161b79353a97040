"""What the host is and whether it has what a change needs: tools, rights, platform, memory, load, clock."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from shlex import quote

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import Needs
from upkeep.domain.release import Release
from upkeep.hosts.question import Answer, Question, bounded, unknown

TOOLS = (
    "tar",
    "gzip",
    "awk",
    "sha256sum",
    "flock",
    "timeout",
    "base64",
    "stat",
    "find",
    "xargs",
    "mktemp",
    "readlink",
    "systemctl",
)


def tools() -> Question:
    """Are the programs there that a change needs?"""

    def judge(answer: Answer) -> Finding:
        missing = answer.text.split()
        if not missing and answer.exit_code == 0:
            return _pass("host.tools", "every program a change needs is there")
        return Finding(
            check="host.tools",
            verdict=Verdict.FAIL if missing else Verdict.UNKNOWN,
            reason=f"missing on the host: {', '.join(missing) or 'not known'}",
            remedy="install coreutils, tar, gzip, findutils, util-linux and mawk or gawk",
        )

    names = " ".join(TOOLS)
    return Question(
        "host.tools",
        f'for t in {names}; do command -v "$t" >/dev/null || printf "%s " "$t"; done; true',
        judge,
        plain=True,
        bare=True,
    )


def privilege(folder: str) -> Question:
    """May the login write where Upkeep has to?"""

    def judge(answer: Answer) -> Finding:
        uid, _, writable = answer.text.strip().partition(" ")
        if uid == "0" or writable == "yes":
            return _pass("host.privilege", f"user id {uid} may write {folder}")
        return Finding(
            check="host.privilege",
            verdict=Verdict.FAIL if uid.isdecimal() else Verdict.UNKNOWN,
            reason=f"user id {uid or 'unknown'} may not write {folder}",
            remedy="give the login sudo rights (become: sudo in the inventory), or log in as root",
        )

    return Question("host.privilege", with_words(NEAREST + _MAY_WRITE, folder), judge, plain=True, bare=True)


NEAREST = 'd=$1; while [ ! -e "$d" ]; do d=${d%/*}; [ -n "$d" ] || d=/; done; '
"""Sets `d` to the nearest folder above $1 that exists."""

# The kernel says who the shell is without a program being started.
_MAY_WRITE = r"""
uid=
{ while read -r name _ value _; do [ "$name" != Uid: ] || { uid=$value; break; }; done </proc/self/status; } 2>/dev/null
printf '%s ' "${uid:-$(id -u)}"
if [ -w "$d" ]; then echo yes; else echo no; fi
"""


def architecture(release: Release) -> Question:
    """Is there an archive for this machine?"""

    def judge(answer: Answer) -> Finding:
        machine, libc = [*answer.text.split(), "", ""][:2]
        if not machine:
            return unknown("host.arch", "", "uname said nothing", evidence=answer.text)
        offered = ", ".join(f"{a.arch} ({a.libc} libc)" for a in release.artifacts)
        if release.artifact_for(machine, libc):
            return _pass("host.arch", f"{machine} with {libc or 'unknown'} libc; {release.version} is there for it")
        return Finding(
            check="host.arch",
            verdict=Verdict.FAIL,
            reason=f"release {release.version} has no archive for {machine} with {libc or 'unknown'} libc; it has {offered}",
            remedy="leave this host out of targets, or ask the vendor for a build",
        )

    return Question("host.arch", f'its_machine=$(uname -m); echo "$its_machine"; {LIBC}', judge, plain=True, bare=True)


CPUS = r"""
cpus=
{ IFS= read -r online </sys/devices/system/cpu/online; } 2>/dev/null || online=
case $online in '' | *[!0-9,-]*) ;; *)
    cpus=0 online=$online,
    while [ -n "$online" ]; do
        range=${online%%,*} online=${online#*,}
        cpus=$((cpus + ${range#*-} - ${range%-*} + 1))
    done ;;
esac
[ -n "$cpus" ] || cpus=$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc)
"""
"""Sets `cpus` to the number of processors that are on."""

LIBC = 'set -- /lib/ld-musl-*; if [ -e "$1" ]; then echo musl; else echo gnu; fi'


def memory(needs: Needs) -> Question:
    """Is there memory to spare?"""

    def judge(answer: Answer) -> Finding:
        match = re.search(r"MemAvailable:\s*(\d+) kB", answer.text)
        if match is None:
            return unknown("host.memory", "", "/proc/meminfo has no MemAvailable", evidence=answer.text)
        available = int(match[1]) * 1024
        return _enough("host.memory", available, needs.memory, "memory available")

    return Question("host.memory", _MEMORY, judge, plain=True, bare=True)


_MEMORY = r"""
while read -r line; do case $line in MemAvailable*) printf '%s\n' "$line"; break ;; esac; done </proc/meminfo
"""


def load(needs: Needs) -> Question:
    """Is the host busy?"""

    def judge(answer: Answer) -> Finding:
        words = answer.text.split()
        try:
            one_minute, cores = float(words[0]), int(words[-1])
        except (ValueError, IndexError):
            return unknown("host.load", "", "load or number of cores cannot be read", evidence=answer.text)
        per_core = one_minute / max(1, cores)
        good = per_core <= needs.load_per_core
        return Finding(
            check="host.load",
            verdict=Verdict.PASS if good else Verdict.FAIL,
            reason=f"load {per_core:.2f} per core, at most {needs.load_per_core:g} is accepted",
            remedy="" if good else "wait until the host is less busy, or raise needs.load_per_core",
            value=per_core,
        )

    return Question(
        "host.load",
        f'{CPUS}read -r line </proc/loadavg; printf \'%s\\n\' "$line" "$cpus"',
        judge,
        plain=True,
        bare=True,
    )


_LONGEST_CLOCK = 11
"""Digits of seconds since 1970 until the year 5138; more is no clock."""


def clock(needs: Needs, asked_at: datetime) -> Question:
    """Is the host's clock right? `asked_at` is the controller's time when the question is sent."""

    def judge(answer: Answer) -> Finding:
        text = answer.text.strip()
        if not text.isdecimal() or len(text) > _LONGEST_CLOCK:
            return unknown("host.clock.skew", "", "the host's clock cannot be read", evidence=answer.text)
        skew = abs(timedelta(seconds=int(text) - asked_at.timestamp()))
        good = skew <= needs.clock_skew + timedelta(seconds=15)  # the way to the host takes time as well
        return Finding(
            check="host.clock.skew",
            verdict=Verdict.PASS if good else Verdict.FAIL,
            reason=f"the host's clock is {skew.total_seconds():.0f} s off, at most {needs.clock_skew.total_seconds():g} s is accepted",
            remedy=""
            if good
            else "start time synchronisation (chrony, systemd-timesyncd) and wait until it has caught up",
            value=skew.total_seconds(),
            unit="s",
        )

    return Question("host.clock.skew", 'its_now=$(date +%s); echo "$its_now"', judge, plain=True, bare=True)


def with_words(script: str, *words: str) -> str:
    """A script with positional parameters, each quoted."""
    return "set -- " + " ".join(quote(word) for word in words) + "\n" + script


def _enough(check: str, found: int, needed: int, what: str) -> Finding:
    good = found >= needed
    return Finding(
        check=check,
        verdict=Verdict.PASS if good else Verdict.FAIL,
        reason=f"{mebibytes(found)} {what}, {mebibytes(needed)} are needed",
        remedy="" if good else "free it, or lower the profile's needs",
        value=float(found),
        unit="bytes",
    )


def mebibytes(size_bytes: int) -> str:
    """A size for people."""
    return f"{size_bytes / 2**20:,.0f} MiB"


def _pass(check: str, reason: str, subject: str = "") -> Finding:
    return Finding(check=check, subject=subject, verdict=Verdict.PASS, reason=bounded(reason))
