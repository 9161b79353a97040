"""Room and mounts: is there space and are there inodes for old, new and backup, and may programs run where they will lie?"""

from __future__ import annotations

from collections.abc import Sequence

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import AgentProfile
from upkeep.hosts.checks.platform import NEAREST, mebibytes, with_words
from upkeep.hosts.question import Answer, Question, bounded, unknown

UNPACKED = 3
"""An archive takes about three times its size: itself, unpacked, and once more while it is moved."""


def questions(profile: AgentProfile, artifact_size_bytes: int) -> list[Question]:
    """For each folder that a change writes to: space, inodes, not read-only; where programs lie, not noexec."""
    needed = {
        profile.paths.releases: UNPACKED * artifact_size_bytes + profile.needs.disk,
        profile.paths.upkeep: artifact_size_bytes + profile.needs.disk,
    }
    folders = dict.fromkeys([*needed, *profile.paths.config, _parent(profile.paths.binary)])
    asked: list[Question] = []
    for folder in folders:
        asked.append(_mount(folder, runs_programs=folder == profile.paths.releases))
        if folder in needed:
            asked += [_space(folder, needed[folder]), _inodes(folder, profile.needs.inodes)]
    return asked


def all_at_once(asked: Sequence[Question]) -> Question:
    """The same questions with df asked twice for all folders, not three times for each; piece by piece where it stumbles over one."""
    folders = list(dict.fromkeys(question.subject for question in asked))

    def judge(answer: Answer) -> list[Finding]:
        told = _told(answer.text, folders)
        return [
            f for question in asked for f in _as_list(question.judge(Answer(0, told[question.check, question.subject])))
        ]

    script = with_words(_ALL_AT_ONCE, *folders)
    return Question("host.disk", script, judge, plain=True, bare=True, parts=tuple(asked))


# $@: the nearest folders that exist, afterwards.
_ALL_AT_ONCE = r"""
for d in "$@"; do
    while [ ! -e "$d" ]; do d=${d%/*}; [ -n "$d" ] || d=/; done
    set -- "$@" "$d"
    shift
done
line_end='
'
kib=$(df -Pk "$@" 2>/dev/null) && inodes=$(df -Pi "$@" 2>/dev/null) && printf '%s\n\n%s\n\n' "$kib" "$inodes" && {
    read -r _
    seen=$line_end lines=0
    while read -r _ _ _ _ _ at; do
        lines=$((lines + 1))
        case $seen in *"$line_end$at$line_end"*) continue ;; esac
        seen=$seen$at$line_end last=
        while read -r line; do case $line in *" $at "*) last=$line ;; esac; done </proc/mounts
        printf '%s\n' "$last"
    done
    [ "$lines" -eq $# ]
} <<.
$kib
.
"""


def _told(text: str, folders: Sequence[str]) -> dict[tuple[str, str], str]:
    """What each question would have been told, by its check and folder."""
    kib, inodes, mounts = (part.splitlines() for part in [*text.split("\n\n", 2), "", "", ""][:3])
    places = [_mounted_on(line) for line in kib[1:]]
    mounted = dict(zip(dict.fromkeys(places), mounts, strict=False))
    told: dict[tuple[str, str], str] = {}
    for number, folder in enumerate(folders):
        told["host.disk.free", folder] = _line(kib, number)
        told["host.disk.inodes", folder] = _line(inodes, number)
        told["host.mount.writable", folder] = mounted.get(places[number], "") if number < len(places) else ""
    return told


def _line(said: Sequence[str], number: int) -> str:
    """What df says of one folder, under its heading; nothing where it says nothing."""
    return f"{said[0]}\n{said[number + 1]}\n" if number + 1 < len(said) else ""


def _mounted_on(line: str) -> str:
    """The last column of df, which may hold spaces."""
    return (line.split(None, 5) or [""])[-1].rstrip()


def _as_list(judged: Finding | Sequence[Finding]) -> Sequence[Finding]:
    return [judged] if isinstance(judged, Finding) else judged


def _parent(path: str) -> str:
    return path.rsplit("/", 1)[0] or "/"


def _space(folder: str, needed: int) -> Question:
    def judge(answer: Answer) -> Finding:
        available = _column(answer.text, 3)
        if available is None:
            return unknown("host.disk.free", folder, "df cannot be read", evidence=answer.text)
        good = available * 1024 >= needed
        return Finding(
            check="host.disk.free",
            subject=folder,
            verdict=Verdict.PASS if good else Verdict.FAIL,
            reason=f"{mebibytes(available * 1024)} free for {folder}, {mebibytes(needed)} are needed for old, new and backup",
            evidence="" if good else bounded(answer.text),
            remedy="" if good else "free space on that file system, then `upkeep retry`",
            value=float(available * 1024),
            unit="bytes",
        )

    return Question("host.disk.free", with_words(NEAREST + 'df -Pk "$d"', folder), judge, folder, plain=True)


def _inodes(folder: str, needed: int) -> Question:
    def judge(answer: Answer) -> Finding:
        total, available = _column(answer.text, 1), _column(answer.text, 3)
        if total == 0:
            return Finding(
                check="host.disk.inodes",
                subject=folder,
                verdict=Verdict.PASS,
                reason="this file system does not count inodes",
            )
        if available is None:
            return unknown("host.disk.inodes", folder, "df -i cannot be read", evidence=answer.text)
        good = available >= needed
        return Finding(
            check="host.disk.inodes",
            subject=folder,
            verdict=Verdict.PASS if good else Verdict.FAIL,
            reason=f"{available} inodes free for {folder}, {needed} are needed",
            remedy="" if good else "remove files on that file system, then `upkeep retry`",
            value=float(available),
        )

    return Question("host.disk.inodes", with_words(NEAREST + 'df -Pi "$d"', folder), judge, folder, plain=True)


_OPTIONS = 3
"""Their place in a line of /proc/mounts."""


def _mount(folder: str, *, runs_programs: bool) -> Question:
    def judge(answer: Answer) -> list[Finding]:
        fields = answer.text.split()
        options = fields[_OPTIONS].split(",") if len(fields) > _OPTIONS else None
        if options is None:
            return [unknown("host.mount.writable", folder, "the mount cannot be read", evidence=answer.text)]
        writable = "ro" not in options
        findings = [
            Finding(
                check="host.mount.writable",
                subject=folder,
                verdict=Verdict.PASS if writable else Verdict.FAIL,
                reason=f"{folder} lies on a file system mounted {'read-write' if writable else 'read-only'}",
                evidence="" if writable else bounded(answer.text),
                remedy="" if writable else "find out why (dmesg: disk errors?) and mount it read-write",
            ),
        ]
        if runs_programs:
            runs = "noexec" not in options
            findings.append(
                Finding(
                    check="host.mount.exec",
                    subject=folder,
                    verdict=Verdict.PASS if runs else Verdict.FAIL,
                    reason=f"programs {'may' if runs else 'may not'} run from {folder}",
                    remedy="" if runs else "mount it without noexec, or set paths.releases to another folder",
                ),
            )
        return findings

    return Question("host.mount.writable", with_words(NEAREST + _MOUNT_OF, folder), judge, folder, plain=True)


# df knows the mount point that a folder lies on; of those mounted over each other the last one counts.
_MOUNT_OF = r"""df -P "$d" | {
    while read -r _ _ _ _ _ at; do m=$at; done
    while read -r line; do case $line in *" $m "*) last=$line ;; esac; done </proc/mounts
    printf '%s\n' "${last:-}"
}"""


def _column(text: str, number: int) -> int | None:
    """A number of df's last line."""
    words = (text.strip().splitlines() or [""])[-1].split()
    return int(words[number]) if len(words) > number and words[number].isdecimal() else None
