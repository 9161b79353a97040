"""Unit files of systemd: the part that a service of a lab host may use."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from upkeep.errors import BadInput, Place

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|sec|min|m|h)?")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}

Restart = Literal["no", "always", "on-success", "on-failure", "on-abnormal"]


@dataclass(frozen=True)
class UnitFile:
    """One service's unit file; times in seconds."""

    name: str
    path: Path
    text: str
    exec_start: tuple[str, ...]
    description: str = ""
    kind: str = "simple"
    restart: Restart = "no"
    restart_sec: float = 0.1
    stop_sec: float = 10.0
    limit_burst: int = 5
    limit_interval: float = 10.0
    environment: dict[str, str] = field(default_factory=dict)
    environment_files: tuple[str, ...] = ()
    working_directory: str = ""
    wanted_by: tuple[str, ...] = ()


def read_unit(path: Path) -> UnitFile:
    """Read a unit file.

    Raises:
        BadInput: no ExecStart, or a value that cannot be read.
        OSError: the file cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    keys = parse_keys(text)
    command = keys.get("Service.ExecStart", [""])[-1].lstrip("-@:+!")
    if not command:
        raise BadInput("the unit has no ExecStart", place=Place(str(path), key="Service.ExecStart"))
    try:
        return _unit(path, text, keys, command)
    except ValueError as error:
        raise BadInput(f"cannot be read: {error}", place=Place(str(path))) from error


def _unit(path: Path, text: str, keys: dict[str, list[str]], command: str) -> UnitFile:
    def last(key: str, default: str) -> str:
        return keys.get(key, [default])[-1] or default

    return UnitFile(
        name=path.name,
        path=path,
        text=text,
        exec_start=tuple(shlex.split(command)),
        description=last("Unit.Description", path.name),
        kind=last("Service.Type", "simple"),
        restart=cast("Restart", last("Service.Restart", "no")),
        restart_sec=seconds(last("Service.RestartSec", "100ms")),
        stop_sec=seconds(last("Service.TimeoutStopSec", "10s")),
        limit_burst=int(last("Unit.StartLimitBurst", "5")),
        limit_interval=seconds(last("Unit.StartLimitIntervalSec", "10s")),
        environment=dict(
            word.split("=", 1)
            for line in keys.get("Service.Environment", [])
            for word in shlex.split(line)
            if "=" in word
        ),
        environment_files=tuple(keys.get("Service.EnvironmentFile", [])),
        working_directory=last("Service.WorkingDirectory", ""),
        wanted_by=tuple(word for line in keys.get("Install.WantedBy", []) for word in line.split()),
    )


def parse_keys(text: str) -> dict[str, list[str]]:
    """`Section.Key` to its values in order; an empty value forgets the earlier ones."""
    keys: dict[str, list[str]] = {}
    section = ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            section = stripped[1:-1]
        elif "=" in stripped and not stripped.startswith(("#", ";")):
            key, _, value = stripped.partition("=")
            values = keys.setdefault(f"{section}.{key.strip()}", [])
            values.append(value.strip()) if value.strip() else values.clear()
    return {key: values for key, values in keys.items() if values}


def seconds(text: str) -> float:
    """A time span like `500ms`, `1min 30s`, `5` in seconds; raises ValueError."""
    if text.strip() == "infinity":
        return float("inf")
    if _SPAN.sub("", text).strip():
        message = f"'{text}' is not a time span"
        raise ValueError(message)
    return sum(float(number) * _SECONDS[unit or "s"] for number, unit in _SPAN.findall(text))


def environment_of(unit: UnitFile) -> dict[str, str]:
    """`Environment=` and the files named by `EnvironmentFile=`, later ones winning.

    Raises:
        OSError: a file is missing whose name has no '-' in front.
    """
    merged = dict(unit.environment)
    for name in unit.environment_files:
        path = Path(name.removeprefix("-"))
        if name.startswith("-") and not path.exists():
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            key, equals, value = line.strip().partition("=")
            if equals and not key.startswith("#"):
                merged[key.strip()] = value.strip().strip("\"'")
    return merged
