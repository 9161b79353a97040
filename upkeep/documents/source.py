"""YAML and JSON texts into nodes, within limits, so that no text can exhaust the controller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from upkeep.documents.compose import Composer
from upkeep.documents.node import Node
from upkeep.errors import BadInput, Place, shorten

MAX_BYTES = 4 * 1024**2
MAX_JSON_BYTES = 32 * 1024**2

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ALLOWED = "one UTF-8 file of YAML"


def read_text(path: Path, limit_bytes: int = MAX_BYTES) -> str:
    """A file's text, without a byte order mark.

    Raises:
        BadInput: missing, a directory, not readable, too large, not UTF-8 or empty.
    """
    place = Place(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except FileNotFoundError as error:
        raise BadInput("there is no such file", place=place, remedy="check the path") from error
    except IsADirectoryError as error:
        raise BadInput("is a directory", place=place, allowed=_ALLOWED, remedy="name a file in it") from error
    except PermissionError as error:
        raise BadInput(
            "may not be read by you", place=place, remedy=f"chmod u+r '{path}', or run as its owner"
        ) from error
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot be read: {error}", place=place, allowed=_ALLOWED) from error
    if len(content) > limit_bytes:
        raise BadInput(
            "is too large", place=place, found=f"more than {limit_bytes} bytes", allowed=f"{limit_bytes} bytes"
        )
    return decoded(content, str(path))


def decoded(content: bytes, file: str) -> str:
    """UTF-8 bytes as text, without a byte order mark.

    Raises:
        BadInput: not UTF-8, or nothing but white space.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x}"
        raise BadInput("is not UTF-8", place=Place(file, line), found=found, remedy="save it as UTF-8") from error
    if not text.strip():
        raise BadInput("is empty", place=Place(file), allowed=_ALLOWED)
    return text


def compose(text: str, file: str, *, line: bool = True) -> Node:
    """The one YAML document in `text` as nodes; `line=False` for texts that are not files, such as `--set` values.

    Raises:
        BadInput: not YAML, several documents, duplicate keys, foreign tags, too deep or too many nodes.
    """
    composer = Composer(file, lines=line)
    try:
        for event in _events(text):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text, file, lines=line) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise BadInput("is not YAML", place=Place(file), found=shorten(str(error))) from error
    if composer.root is None:
        raise BadInput("is empty", place=Place(file), allowed="keys and values")
    return composer.root


def parse_json(text: str, file: str) -> object:
    """JSON with duplicate keys and non-numbers refused.

    Raises:
        BadInput: not JSON, with the line.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        problem = f"is not complete, valid JSON: {error.msg.lower()} (column {error.colno})"
        raise BadInput(problem, place=Place(file, error.lineno), allowed="one JSON document") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadInput(f"is not JSON that can be used: {reason}", place=Place(file)) from error


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=_Loader)


def _not_yaml(error: yaml.MarkedYAMLError, text: str, file: str, *, lines: bool) -> BadInput:
    mark = error.problem_mark or error.context_mark
    number = mark.line + 1 if mark and lines else None
    written = text.splitlines()[mark.line : mark.line + 1] if mark else []
    what = written[0] if written else ""
    if "\t" in what[: len(what) - len(what.lstrip())]:
        return BadInput(
            "a tab is used to indent", place=Place(file, number), found=what.strip(), remedy="indent with spaces"
        )
    reason = " ".join(part for part in (error.problem, error.context) if part)
    remedy = "look for a missing quote, colon or bracket, or wrong indentation, on this line or the one before"
    return BadInput(f"is not YAML: {reason}", place=Place(file, number), found=what.strip() or None, remedy=remedy)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            message = f"the key '{shorten(key, 80)}' is given twice"
            raise ValueError(message)
        found[key] = value
    return found


def _no_constant(name: str) -> object:
    message = f"{name} is not a JSON number"
    raise ValueError(message)
