"""Scripts for one host: quoted settings, the shell library, and the call of one phase."""

from __future__ import annotations

import functools
import importlib.resources
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath

from upkeep.domain.profile import AgentProfile
from upkeep.domain.template import fill
from upkeep.errors import BadInput
from upkeep.hosts.kept_shell import Kept

_FILES = (
    "durable",
    "journal",
    "lock",
    "service",
    "backup",
    "restore",
    "release",
    "guard",
    "switch",
    "inspect",
    "prune",
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FUNCTION = r"^(\w+)\(\)"
_VARIABLE = r"^(\w+)="
_CANDIDATE = "\0candidate\0"
_CONFIG_CHECK_SECONDS = 60
_MUTEX_SECONDS = 30
_TEXT_LIMIT = 500

Settings = Mapping[str, str | int]


@functools.cache
def library() -> str:
    """The shell library that every script carries."""
    folder = importlib.resources.files("upkeep.hosts") / "scripts"
    return "".join((folder / f"{name}.sh").read_text(encoding="utf-8") for name in _FILES)


@functools.cache
def prelude() -> str:
    """How every script begins: the library, as a text that the dead-man switch takes along and as functions."""
    return f'LIBRARY={shlex.quote(library())}\neval "$LIBRARY"\n'


@functools.cache
def common() -> Kept:
    """What a kept shell is told once: the prelude, and how it is forgotten."""
    functions, variables = (set(re.findall(sign, library(), re.MULTILINE)) for sign in (_FUNCTION, _VARIABLE))
    names = " ".join(sorted({"LIBRARY", "found", "folders", *variables}))
    return Kept(prelude(), f"unset -f {' '.join(sorted(functions))}; unset {names}")


def script(settings: Settings, phase: str, more: str = "") -> str:
    """A whole script: the settings, the library, `more` functions that not all scripts need, and one phase."""
    return f'{prelude()}SETTINGS={shlex.quote(assignments(settings))}\neval "$SETTINGS"\n{more}phase_{phase}\n'


def assignments(settings: Settings) -> str:
    """Settings as shell assignments, one a line, every value quoted."""
    return "\n".join(f"{name}={shlex.quote(str(value))}" for name, value in settings.items())


def one_line(text: str) -> str:
    """Text for a `key=value` line: control characters become spaces, the length is bounded."""
    return _CONTROL.sub(" ", text).strip()[:_TEXT_LIMIT]


def profile_settings(profile: AgentProfile) -> Settings:
    """What every phase must know of the agent.

    Raises:
        BadInput: a path cannot be used.
    """
    paths, upkeep = profile.paths, _path(profile.paths.upkeep)
    guard_script = f"{upkeep}/incoming/guard.sh"
    return {
        "AGENT": profile.name,
        "UNIT": profile.service.unit,
        "GUARD": profile.service.guard,
        "GUARD_UNIT": f"upkeep-guard-{profile.name}",
        "GUARD_SCRIPT": for_systemd(guard_script),
        "START_TIMEOUT": max(1, round(profile.service.start_timeout.total_seconds())),
        "BINARY": _path(paths.binary),
        "RELEASES": _path(paths.releases),
        "CONFIG": _lines(paths.config),
        "SECRETS": _lines(paths.secrets),
        "STATE": _lines(paths.state),
        "U": upkeep,
        "MEMBER": profile.installer.binary_member.removeprefix("./"),
        "CONFIG_CHECK": config_check(profile.installer.config_check),
        "MUTEX_WAIT": _MUTEX_SECONDS,
    }


def config_check(command: tuple[str, ...]) -> str:
    """The command that judges the configuration, as shell text in which $CANDIDATE is the new binary; empty without one."""
    if not command:
        return ""
    words = [
        shlex.quote(fill(word, {"candidate": _CANDIDATE})).replace(_CANDIDATE, "'\"$CANDIDATE\"'") for word in command
    ]
    return f"timeout -k 5 {_CONFIG_CHECK_SECONDS} {' '.join(words)}"


def _lines(paths: tuple[str, ...]) -> str:
    return "\n".join(_path(path) for path in paths)


def _path(text: str) -> str:
    path = str(PurePosixPath("/", text.lstrip("/")))
    if path == "/" or not text.startswith("/") or _CONTROL.search(path):
        raise BadInput("a path of the profile cannot be used", found=text, allowed="an absolute path below /")
    return path


def for_systemd(path: str) -> str:
    """A path as one word of a unit file."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
