"""`journalctl` as a lab host has it: one or more units, a time span, a style."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from upkeep.lab.journal import read_entries
from upkeep.lab.supervisor import Supervisor
from upkeep.lab.systemctl import Answer
from upkeep.lab.unit_file import seconds

STYLES = ("short", "cat", "short-iso", "short-iso-precise", "short-unix")
DEFAULT_LINES = 10
_IGNORED = {"--no-pager", "--utc", "-a", "--all", "-b", "--boot", "-x", "--no-hostname", "--system"}
_KERNEL = {"-k", "--dmesg"}


@dataclass
class _Call:
    units: list[str] = field(default_factory=list)
    since: float = 0.0
    until: float = float("inf")
    style: str = "short"
    lines: int | None = None
    quiet: bool = False
    newest_first: bool = False
    kernel: bool = False


def journalctl(supervisor: Supervisor, arguments: list[str]) -> Answer:
    """Do what `journalctl ARGUMENTS` does."""
    try:
        call = _parse(arguments)
    except (ValueError, IndexError) as error:
        return Answer(1, stderr=f"journalctl: {error}\n")
    if call.kernel:
        return Answer(0, "" if call.quiet else "-- No entries --\n")  # a host of the lab has no kernel of its own
    files = [supervisor.paths.journal / f"{unit}.log" for unit in call.units]
    files = files or sorted(supervisor.paths.journal.glob("*.log"))
    entries = sorted(
        (entry for file in files for entry in read_entries(file, call.since, call.until)),
        key=lambda entry: entry.at,
    )
    if call.lines is not None:
        entries = entries[-call.lines :] if call.lines else []
    if call.newest_first:
        entries.reverse()
    if not entries:
        return Answer(0, "" if call.quiet else "-- No entries --\n")
    return Answer(0, "".join(f"{entry.shown(call.style, supervisor.paths.name)}\n" for entry in entries))


def _parse(arguments: list[str]) -> _Call:
    call, rest = _Call(), list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in _IGNORED:
            continue
        if word in {"-q", "--quiet"}:
            call.quiet = True
        elif word in _KERNEL:
            call.kernel = True
        elif word in {"-r", "--reverse"}:
            call.newest_first = True
        elif not equals and len(word) > len("-n") and word[:2] in _OPTIONS and not word.startswith("--"):
            _OPTIONS[word[:2]](call, word[2:])
        elif name in _OPTIONS:
            _OPTIONS[name](call, value if equals else rest.pop(0))
        else:
            message = f"unrecognized option '{word}'"
            raise ValueError(message)
    return call


def _set_style(call: _Call, value: str) -> None:
    if value not in STYLES:
        message = f"Unknown output format '{value}'."
        raise ValueError(message)
    call.style = value


def _set_unit(call: _Call, value: str) -> None:
    if "/" in value:
        message = f"'{value}' is not a unit"
        raise ValueError(message)
    call.units.append(value if "." in value else f"{value}.service")


def _set_since(call: _Call, value: str) -> None:
    call.since = moment(value)


def _set_until(call: _Call, value: str) -> None:
    call.until = moment(value)


def _set_lines(call: _Call, value: str) -> None:
    call.lines = None if value == "all" else int(value or DEFAULT_LINES)


def _set_priority(call: _Call, value: str) -> None:
    """Only ever asked of the kernel here."""


_OPTIONS: dict[str, Callable[[_Call, str], None]] = {
    "-u": _set_unit,
    "--unit": _set_unit,
    "-S": _set_since,
    "--since": _set_since,
    "-U": _set_until,
    "--until": _set_until,
    "-o": _set_style,
    "--output": _set_style,
    "-n": _set_lines,
    "--lines": _set_lines,
    "-p": _set_priority,
    "--priority": _set_priority,
}


def moment(text: str) -> float:
    """`@EPOCH`, `-5min`, `now` or `2026-11-21 05:28:08` (UTC) in seconds since 1970; raises ValueError."""
    if text.startswith("@"):
        return float(text[1:])
    if text.startswith("-"):
        return time.time() - seconds(text[1:])
    if text == "now":
        return time.time()
    try:
        return datetime.fromisoformat(text.removesuffix(" UTC")).replace(tzinfo=UTC).timestamp()
    except ValueError:
        message = f"Failed to parse timestamp: {text}"
        raise ValueError(message) from None
