"""A plan for a release that was found, written from a template that people keep."""

from __future__ import annotations

import json
import re
from datetime import datetime

_KEY_LINE = r"(?m)^{key}:[ \t]*[^\s#|>&*!][^\n]*$"
_VERSION_AT_END = re.compile(r"-v?\d+(\.\d+)+[0-9A-Za-z.+-]*$")
_SUFFIXES = (".template.yaml", ".yaml", ".yml")


def file_name(template: str, version: str) -> str:
    """The name of the plan's file: that of the template, and the version."""
    stem = next((template.removesuffix(suffix) for suffix in _SUFFIXES if template.endswith(suffix)), template)
    return f"{_without_version(stem)}-{version}.yaml"


def plan_name(template: str, version: str) -> str:
    """The plan's name: that of the template with this version instead of its own."""
    return f"{_without_version(template)}-{version}"


def written_plan(template: str, *, name: str, release: str, source: str, at: datetime) -> str:
    """The template's text, comments and all, with another name and release.

    Raises:
        ValueError: `name` or `release` do not stand on one line of their own.
    """
    text = template
    for key, value in (("name", name), ("release", release)):
        line = re.compile(_KEY_LINE.format(key=key))
        if len(line.findall(text)) != 1:
            message = f"'{key}:' must stand on one line of its own, at the left margin"
            raise ValueError(message)
        text = line.sub(lambda _, key=key, value=value: f"{key}: {json.dumps(value)}", text)  # type: ignore[misc]
    said = f"# Opened on {at:%Y-%m-%d %H:%M} UTC by release_watch from {source}. Nothing was started: read it, then run it.\n"
    return said + text


def _without_version(text: str) -> str:
    return _VERSION_AT_END.sub("", text)
