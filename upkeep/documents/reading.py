"""From a file to a validated document."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from upkeep.documents.node import Loc, Located, Node, dotted, locate, plain_data, replaced
from upkeep.documents.problems import Locator, explain, joined
from upkeep.documents.source import compose, parse_json, read_text
from upkeep.domain.document import Document
from upkeep.errors import BadInput, Place

Read = TypeVar("Read", bound=Document)


def read_document(path: Path, model: type[Read], overrides: Mapping[str, str] | None = None) -> Read:
    """A YAML file as a `model`, with `overrides` (dotted key to YAML value) put in.

    Raises:
        BadInput: anything wrong with the file or an override, with file, line and key.
    """
    root = with_overrides(compose(read_text(path), str(path)), overrides or {})
    return validated(plain_data(root), model, partial(locate, root), file=str(path))


def validated(data: object, model: type[Read], locator: Locator, *, file: str, kind: type[BadInput] = BadInput) -> Read:
    """Plain data as a `model`; `locator` says where in the document a value was written.

    Raises:
        BadInput: or `kind`; names every problem, ten at most.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise joined(explain(error, model, locator), kind) from error
    except (OverflowError, RecursionError) as error:
        raise kind(f"a value is too large to be used: {error}", place=Place(file)) from error


def read_json(text: str, model: type[Read], *, file: str, kind: type[BadInput] = BadInput) -> Read:
    """Strict JSON as a `model`, with the lines of its problems.

    Raises:
        BadInput: or `kind`; not JSON, or not what the model allows.
    """
    try:
        data = parse_json(text, file)
    except BadInput as error:
        raise kind(
            error.problem, place=error.place, found=error.found, allowed=error.allowed, remedy=error.remedy
        ) from error
    return validated(data, model, json_locator(text, file), file=file, kind=kind)


def json_locator(text: str, file: str) -> Locator:
    """Where values are in a JSON text: JSON is YAML, bar rare escapes; for those only the key is told."""
    try:
        return partial(locate, compose(text, file))
    except BadInput:
        return partial(keys_only, file)


def keys_only(file: str, loc: Loc) -> Located:
    """A place that knows its key but not its line."""
    return Located(Place(file, None, dotted(loc)), None, loc)


def with_overrides(root: Node, overrides: Mapping[str, str]) -> Node:
    """The document with each override in its place.

    Raises:
        BadInput: a key or a value of an override cannot be used; the place is `--set KEY`.
    """
    for key, text in overrides.items():
        origin = f"--set {key}"
        path = _path(key, origin)
        value = compose(text, origin, line=False) if text.strip() else Node(origin, None)
        root = replaced(root, path, value)
    return root


def _path(key: str, origin: str) -> Loc:
    parts = key.replace("[", ".").replace("]", "").split(".")
    if not all(part and part == part.strip() for part in parts):
        allowed = "a dotted key such as soak.canary or stages[1].pct"
        raise BadInput("is not a key", place=Place(origin), found=key, allowed=allowed)
    return tuple(int(part) if part.isascii() and part.isdecimal() else part for part in parts)
