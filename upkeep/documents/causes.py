"""What can come between an agent and its control centre, as data."""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path

from upkeep.documents.reading import read_document
from upkeep.domain.diagnosis import Causes


@functools.cache
def load_causes() -> Causes:
    """The causes that come with Upkeep."""
    return read_document(Path(str(resources.files("upkeep"))) / "catalogue" / "causes" / "control_centre.yaml", Causes)
