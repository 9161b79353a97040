"""The catalogue of checks: Upkeep's own files, and the site's on top of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from upkeep.documents.fields import nearest
from upkeep.documents.reading import read_document
from upkeep.domain.check import Catalogue, Check, CheckFile
from upkeep.errors import BadInput, Place


def load_catalogue(files: Iterable[Path] = ()) -> Catalogue:
    """Upkeep's checks with what each of the site's files adds and adjusts; a file that is not there adds nothing.

    Raises:
        BadInput: with file, line, key, what was found and what is allowed.
    """
    checks = {check.id: check for check in built_in_checks()}
    off: set[str] = set()
    for file in files:
        if file.exists():
            _merge(checks, off, file)
    return Catalogue(tuple(checks.values()), frozenset(off))


@functools.cache
def built_in_checks() -> tuple[Check, ...]:
    """The checks that come with Upkeep."""
    folder = Path(str(resources.files("upkeep"))) / "catalogue"
    return tuple(check for path in sorted(folder.glob("*.yaml")) for check in read_document(path, CheckFile).checks)


def _merge(checks: dict[str, Check], off: set[str], file: Path) -> None:
    read = read_document(file, CheckFile)
    for check in read.checks:
        if check.look and check.id not in checks:
            known = sorted({one.look for one in built_in_checks() if one.look})
            if check.look not in known:
                place = Place(str(file), None, f"{check.id}.look")
                raise BadInput("is no look", place=place, found=check.look, allowed=", ".join(known))
        checks[check.id] = check
    for name, adjustment in read.adjust.items():
        if name not in checks:
            guess = nearest(name, sorted(checks))
            remedy = f"did you mean '{guess}'?" if guess else "see upkeep checks list"
            place = Place(str(file), None, f"adjust.{name}")
            raise BadInput(
                "there is no such check", place=place, found=name, allowed="an id of the catalogue", remedy=remedy
            )
        changed = adjustment.model_dump(exclude_none=True, exclude={"off"})
        checks[name] = Check.model_validate(checks[name].model_dump(exclude_defaults=True) | {"id": name} | changed)
        off.add(name) if adjustment.off else off.discard(name)
