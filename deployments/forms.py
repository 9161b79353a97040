"""What the Prefect UI's forms show of a request: the fields a person needs for this runbook, and what there is to choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from tasks.open_windows import TEMPLATE
from upkeep.settings import Settings

FILES = frozenset({".yaml", ".yml", ".json"})
MOST_CHOICES = 200
MOST_BYTES = 1 << 20
_ABOVE = "Choose a plan and an inventory; the rest may stay as it is. A wrong entry is refused before anything starts."
_CHANGE = (
    *("plan", "inventory", "hosts", "reason", "requested_by", "ticket", "dry_run"),
    *("override_window", "of_run", "settings"),
)
_UNDO = ("of_run", "hosts", "ticket", "reason", "requested_by")
_FIELDS = {"rollback": _UNDO}

_HELP: dict[str, dict[str, Any]] = {
    "plan": {"title": "Plan", "description": "What is to change, on which hosts, in which stages. The key ↓ opens the list as well."},
    "inventory": {"title": "Inventory", "description": "The hosts, their labels and how to reach them."},
    "hosts": {
        "title": "Only these hosts",
        "description": "Leave empty for all of the plan's targets, or narrow them: zone=b,!web-07",
    },
    "ticket": {
        "title": "Change ticket",
        "description": "Number of the change, e.g. CHG0031337. With a ticket system, it must be approved and within its times.",
        "maxLength": 64,
    },
    "reason": {"title": "Reason", "description": "Why this is done; kept in the history.", "maxLength": 400},
    "dry_run": {"title": "Dry run", "description": "Look and plan only; nothing on any host changes."},
    "settings": {
        "title": "Changed settings of the plan",
        "description": 'Seldom needed. Plan keys and their values, e.g. {"soak.canary": "2m"}',
    },
    "of_run": {"title": "Earlier run", "description": "Leave empty, or the id of a run whose unfinished hosts are to be tried again."},
    "override_window": {
        "title": "Override window and freezes",
        "description": "Needs a reason, and another person's approval before anything starts.",
    },
    "requested_by": {"title": "Requested by", "description": "Your login name. Needed where others approve stages.", "maxLength": 64},
}  # fmt: skip
_UNDO_ABOVE = "Name the run to undo; the rest may stay as it is."
_UNDO_HELP = {"title": "Run to undo", "description": "The id of the run, or last: its committed hosts go back."}


def form_of(runbook: str, schema: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The parameter schema of a runbook as a form; a request that names further fields is still taken, and judged by the run.

    Plans and inventories are offered from the folders of the settings, and any other file can be named instead.
    """
    request = schema["definitions"]["RunRequest"]
    shown = _FIELDS.get(runbook, _CHANGE)
    properties = {
        name: {**request["properties"][name], **_HELP.get(name, {})} for name in shown if name in request["properties"]
    }
    if shown is _UNDO:
        properties["of_run"] |= {**_UNDO_HELP, "minLength": 1}
    for name, choices in (
        ("plan", plans(settings.plans)),
        ("inventory", inventories(settings.inventories + settings.plans)),
    ):
        if name in properties and choices:
            properties[name] = _choice(properties[name], choices)
    for position, field in enumerate(properties.values()):
        field["position"] = position
    form = {
        **request,
        "title": "Request",
        "description": _UNDO_ABOVE if shown is _UNDO else _ABOVE,
        "properties": properties,
        "additionalProperties": True,
    }
    if shown is _UNDO:
        form["required"] = ["of_run"]
    outer = {name: {**field, "title": "What to do"} for name, field in schema["properties"].items()}
    return {**schema, "properties": outer, "definitions": {**schema["definitions"], "RunRequest": form}}


def plans(folders: Iterable[Path]) -> list[str]:
    """The plans in these folders, by name."""
    return _files(folders, lambda keys: {"profile", "release"} <= keys)


def inventories(folders: Iterable[Path]) -> list[str]:
    """The inventories in these folders, by name."""
    return _files(folders, lambda keys: "hosts" in keys or "_meta" in keys)


def _files(folders: Iterable[Path], fits: Callable[[set[str]], bool]) -> list[str]:
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.suffix in FILES]
    usable = (path for path in found if not path.name.endswith(TEMPLATE) and fits(_keys(path)))
    return [str(path) for path in islice(usable, MOST_CHOICES)]


def _keys(path: Path) -> set[str]:
    """A file's outermost keys; none of one that cannot be read, which `upkeep plan check` says more about."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return set()
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return set()
    return {str(key) for key in document} if isinstance(document, dict) else set()


def _choice(field: dict[str, Any], choices: list[str]) -> dict[str, Any]:
    """One of the choices, or any other file on the controller."""
    other = {"type": "string", "title": "another file on the controller", "default": ""}
    return {
        "title": field["title"],
        "description": field["description"],
        "anyOf": [{"type": "string", "title": "one of these", "enum": choices}, other],
        "default": choices[0] if len(choices) == 1 else "",
    }
