"""What an unquoted word means: the YAML 1.2 core schema, and the words that other readers understand differently."""

from __future__ import annotations

import math
import re

from upkeep.documents.node import Scalar

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+", re.ASCII)
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST_NUMBER = 60


def understood(raw: str) -> tuple[Scalar, str]:
    """The value of an unquoted scalar, and why it is doubtful (empty when it is not)."""
    if raw in _NULL:
        return None, ""
    if raw.lower() in _TRUE | _FALSE and raw in {raw.lower(), raw.upper(), raw.capitalize()}:
        return raw.lower() in _TRUE, ""
    if _NOT_FINITE.fullmatch(raw):
        return raw, "infinity and not-a-number are no values for a rule"
    if _LEADING_ZERO.fullmatch(raw):
        return raw, "a number with a leading zero is octal to some readers and decimal to others"
    return _number(raw)


def _number(raw: str) -> tuple[Scalar, str]:
    is_whole = _DECIMAL.fullmatch(raw) or _BASED.fullmatch(raw)
    if not is_whole and not _FLOAT.fullmatch(raw):
        return raw, ""
    if len(raw) > _LONGEST_NUMBER:
        return raw, f"a number of {len(raw)} characters is too long"
    if is_whole:
        return int(raw, 0) if _BASED.fullmatch(raw) else int(raw), ""
    value = float(raw)
    return (value, "") if math.isfinite(value) else (raw, "this number is too large")
