"""pydantic's errors in plain words, with file, line and key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from upkeep.documents.fields import fields_at, nearest
from upkeep.documents.node import Loc, Located, Node, dotted, kind_of
from upkeep.errors import BadInput, Place, shorten

MOST_SHOWN = 10

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "tuple_type": "a list",
    "list_type": "a list",
    "datetime_type": "a date and time with zone, e.g. 2027-01-31T00:00:00Z",
    "datetime_parsing": "a date and time with zone, e.g. 2027-01-31T00:00:00Z",
    "datetime_from_date_parsing": "a date and time with zone, e.g. 2027-01-31T00:00:00Z",
    "timezone_aware": "a date and time with zone, e.g. 2027-01-31T00:00:00Z",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_LENGTHS = {
    "too_short": ("has too few entries", "at least {min_length}"),
    "too_long": ("has too many entries", "at most {max_length}"),
    "string_too_short": ("is too short", "at least {min_length} characters"),
    "string_too_long": ("is too long", "at most {max_length} characters"),
}
_SECRET = re.compile(r"passw|secret|token|passphrase", re.IGNORECASE)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a document."""

    place: Place
    text: str
    found: str | None = None
    allowed: str = ""
    remedy: str = ""

    def error(self, kind: type[BadInput] = BadInput) -> BadInput:
        """The problem as an exception."""
        return kind(self.text, place=self.place, found=self.found, allowed=self.allowed, remedy=self.remedy)


Locator = Callable[[Loc], Located]


def explain(error: ValidationError, model: type[BaseModel], locator: Locator) -> list[Problem]:
    """Every problem of a document, in the order of its lines, alternatives of one value joined."""
    found: dict[tuple[Place, str], Problem] = {}
    for details in error.errors(include_url=False):
        problem = _problem(details, model, locator)
        key = (problem.place, problem.text)
        known = found.get(key)
        if known is None:
            found[key] = problem
        elif problem.allowed not in known.allowed:
            found[key] = replace(known, allowed=f"{known.allowed} or {problem.allowed}")
    return sorted(found.values(), key=lambda p: p.place.line or 0)


def joined(problems: list[Problem], kind: type[BadInput] = BadInput) -> BadInput:
    """One exception for all problems: the first in full, the others as one line each, ten at most."""
    first, others = problems[0], problems[1:]
    if not others:
        return first.error(kind)
    lines = [f"  {p.error()}" for p in others[: MOST_SHOWN - 1]]
    left = len(others) - len(lines)
    more = [f"  and {left} more"] if left else []
    these = "this is" if len(others) == 1 else f"these {len(others)} are"
    rest = "\n".join([f"{these} wrong as well:", *lines, *more])
    return replace(first, remedy=f"{first.remedy or 'correct it'}\n{rest}").error(kind)


def _problem(details: ErrorDetails, model: type[BaseModel], locator: Locator) -> Problem:
    kind, context = details["type"], details.get("ctx", {})
    at = locator(details["loc"])
    if kind == "missing":
        return _missing(details["loc"], model, at)
    if kind == "extra_forbidden":
        return _unknown_key(details["loc"], model, at)
    if kind == "value_error":
        return _said_by_rule(details, at, locator)
    shown = _shown(details, at)
    if kind in _EXPECTED:
        remedy = _quoting(kind, at.node)
        return Problem(at.place, "has the wrong type", shown, _EXPECTED[kind], remedy)
    return _limit(kind, context, at.place, shown) or _other(details, at, shown)


def _limit(kind: str, context: Mapping[str, Any], place: Place, shown: str | None) -> Problem | None:
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return Problem(place, "is out of range", shown, f"{words} {context[name]:g}")
    if kind in _LENGTHS:
        text, allowed = _LENGTHS[kind]
        return Problem(place, text, shown, allowed.format(**context))
    return None


def _missing(loc: Loc, model: type[BaseModel], at: Located) -> Problem:
    name = str(loc[-1])
    field = fields_at(model, loc[:-1]).get(name)
    meaning = f": {field.description}" if field is not None and field.description else ""
    place = replace(at.place, key=dotted(loc))
    return Problem(place, f"'{name}' is missing", remedy=f"add '{name}'{meaning}")


def _unknown_key(loc: Loc, model: type[BaseModel], at: Located) -> Problem:
    allowed = sorted(fields_at(model, loc[:-1]))
    guess = nearest(str(loc[-1]), allowed)
    remedy = f"did you mean '{guess}'?" if guess else "remove it"
    return Problem(at.place, f"unknown key '{loc[-1]}'", allowed=", ".join(allowed), remedy=remedy)


def _said_by_rule(details: ErrorDetails, at: Located, locator: Locator) -> Problem:
    """A rule of the domain: its own sentence, placed at the key or name that the sentence speaks of."""
    message = str(details.get("ctx", {}).get("error") or details["msg"])
    message, _, allowed = message.partition("; allowed: ")
    if at.node is not None and not at.node.is_scalar:
        return Problem(_spoken_of(message, at, locator).place, message, allowed=allowed)
    quoting = _quoting("string_type", at.node)
    return Problem(at.place, message, _shown(details, at), allowed, f"if it is text, {quoting}" if quoting else "")


def _spoken_of(message: str, at: Located, locator: Locator) -> Located:
    names = [message.split(maxsplit=1)[0].rstrip(":"), *re.findall(r"'([^']+)'", message)]
    nested = [(key, name) for name in names for key in ("hosts", "groups")]
    for path in [*reversed(nested), *((name,) for name in names)]:
        hit = locator((*at.reached, *path))
        if hit.reached == (*at.reached, *path):
            return hit
    return at


def _other(details: ErrorDetails, at: Located, shown: str | None) -> Problem:
    context: Mapping[str, Any] = details.get("ctx", {})
    if details["type"] in {"literal_error", "enum"}:
        allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        guess = nearest(str(details["input"]), allowed.split(", "))
        return Problem(
            at.place, "is not one of the words allowed", shown, allowed, f"did you mean '{guess}'?" if guess else ""
        )
    if details["type"] == "string_pattern_mismatch":
        return Problem(at.place, "does not have the form wanted", shown, f"text like {context['pattern']}")
    return Problem(at.place, f"is not accepted: {details['msg'].lower()}", shown)


def _shown(details: ErrorDetails, at: Located) -> str | None:
    if _SECRET.search(at.place.key):
        return "a value that is not shown"
    if at.node is not None:
        return shorten(at.node.describe(), 120)
    value = details["input"]
    return kind_of(value) if isinstance(value, (dict, list)) else f"{shorten(str(value), 80)} ({kind_of(value)})"


def _quoting(kind: str, node: Node | None) -> str:
    """For text that YAML reads as a number or boolean: write it in quotes."""
    if kind != "string_type" or node is None or not node.is_scalar or node.value is None or isinstance(node.value, str):
        return ""
    return f'write it in quotes: "{node.raw}"'
