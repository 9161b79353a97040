"""What can be wrong, as data."""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path

from upkeep.documents.reading import read_document
from upkeep.domain.diagnosis import Causes


@functools.cache
def load_causes(about: str = "control_centre") -> Causes:
    """The causes that come with Upkeep: of a lost control centre, or of a failed install or backup (`first_aid`)."""
    return read_document(Path(str(resources.files("upkeep"))) / "catalogue" / "causes" / f"{about}.yaml", Causes)
