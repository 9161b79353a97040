"""What every document a person writes has in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)\s*$")
_LONGEST_SECONDS = 3660 * 86400
_LARGEST_BYTES = 1 << 60
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*$")
_MODE = re.compile(r"^0?[0-7]{3,4}$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")


class Document(BaseModel):
    """Base of everything read from a file: unknown keys are errors, nothing changes after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _duration(value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
    if isinstance(value, str) and (match := _DURATION.match(value)):
        unit = match[2] if match[2] == "ms" else match[2][0]
        value = float(match[1]) * _UNIT_SECONDS[unit]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value <= _LONGEST_SECONDS:
            message = "is too large or negative; a duration is 0 s to ten years"
            raise ValueError(message)
        return timedelta(seconds=value)
    if isinstance(value, timedelta):
        return value
    message = "is not a duration; write 90s, 5m, 2h or 7d"
    raise ValueError(message)


def _size(value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
    if isinstance(value, str) and (match := _SIZE.match(value)):
        value = int(min(float(match[1]), _LARGEST_BYTES) * 1024 ** " KMGT".index(match[2] or " "))
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_BYTES:
        return value
    message = "is not a size; write 512M or 2G (powers of 1024)"
    raise ValueError(message)


def _mode(value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
    if isinstance(value, str) and _MODE.match(value):
        return value.zfill(4)
    message = 'is not a file mode; write it in quotes, "0644"'
    raise ValueError(message)


def _name(value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
    if isinstance(value, str) and _NAME.match(value):
        return value
    message = "is not a name; letters, digits, '.', '_' and '-', at most 128, beginning with a letter or digit"
    raise ValueError(message)


def each_once(ids: Iterable[str]) -> None:
    """Raise ValueError that names every id that is there more than once."""
    if twice := sorted(one for one, times in Counter(ids).items() if times > 1):
        message = f"{', '.join(twice)} is there twice; allowed: every id once"
        raise ValueError(message)


def words(duration: timedelta) -> str:
    """A duration as people write it: `90 s`, `5 min`, `2 h 30 min`."""
    seconds = duration.total_seconds()
    if seconds < 120:  # noqa: PLR2004 - below two minutes seconds read better
        return f"{seconds:g} s"
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (secs, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


Duration = Annotated[
    timedelta, BeforeValidator(_duration), PlainSerializer(lambda d: d.total_seconds(), return_type=float)
]
SizeBytes = Annotated[int, BeforeValidator(_size)]
FileMode = Annotated[str, BeforeValidator(_mode)]
Name = Annotated[str, BeforeValidator(_name)]
