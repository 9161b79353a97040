"""The documents that people name on the command line: inventory, profile and plan."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import resources
from pathlib import Path

from upkeep.documents.ansible import from_ansible, is_ansible
from upkeep.documents.fields import nearest
from upkeep.documents.node import locate, plain_data
from upkeep.documents.reading import json_locator, read_document, validated
from upkeep.documents.source import MAX_JSON_BYTES, compose, parse_json, read_text
from upkeep.domain.inventory import Inventory
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile
from upkeep.errors import BadInput

_SUFFIXES = (".yaml", ".yml")


def load_inventory(path: Path) -> Inventory:
    """An inventory file, YAML or JSON, Upkeep's own or as `ansible-inventory --list` prints it.

    Raises:
        BadInput: with file, line, key, what was found and what is allowed.
    """
    file, is_json = str(path), path.suffix == ".json"
    text = read_text(path, MAX_JSON_BYTES) if is_json else read_text(path)
    if is_json:
        data, locator = parse_json(text, file), json_locator(text, file)
    else:
        root = compose(text, file)
        data, locator = plain_data(root), partial(locate, root)
    if is_ansible(data):
        return from_ansible(data, file=file, locator=locator)
    return validated(data, Inventory, locator, file=file)


def load_plan(path: Path, overrides: Mapping[str, str] | None = None) -> Plan:
    """A plan file; `overrides` are dotted keys (`soak.canary`, `stages[1].pct`) with YAML values, as given by `--set`.

    Raises:
        BadInput: with file, line and key, or `--set KEY` for an override.
    """
    return read_document(path, Plan, overrides)


def parse_plan(text: str, file: str) -> Plan:
    """A plan that is not in a file yet; `file` is where it will be.

    Raises:
        BadInput: with file, line and key.
    """
    root = compose(text, file)
    return validated(plain_data(root), Plan, partial(locate, root), file=file)


def load_profile(name_or_path: str, relative_to: Path) -> AgentProfile:
    """A built-in agent profile by name, or a profile file relative to a document (or its folder).

    Raises:
        BadInput: no such profile, or with file, line and key.
    """
    return read_document(profile_path(name_or_path, relative_to), AgentProfile)


def profile_path(name_or_path: str, relative_to: Path) -> Path:
    """The file of a profile; the keys that it trusts are relative to this file's folder.

    Raises:
        BadInput: neither a built-in profile nor a file.
    """
    built_in = built_in_profiles()
    if name_or_path in built_in:
        return built_in[name_or_path]
    folder = relative_to if relative_to.is_dir() else relative_to.parent
    path = folder / Path(name_or_path).expanduser()
    if path.suffix in _SUFFIXES or path.exists():
        return path
    guess = nearest(name_or_path, sorted(built_in))
    raise BadInput(
        f"there is no profile '{name_or_path}'",
        found=f"neither built in nor the file {path}",
        allowed=f"{', '.join(sorted(built_in)) or 'no built-in profile'}, or a file ending in .yaml",
        remedy=f"did you mean '{guess}'?" if guess else "name a built-in profile or a file relative to the plan",
    )


def built_in_profiles() -> dict[str, Path]:
    """The profiles that come with Upkeep, by name."""
    folder = Path(str(resources.files("upkeep"))) / "profiles"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
