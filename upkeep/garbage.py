"""How seldom Python looks for garbage: loading Prefect and SQLAlchemy leaves half a million objects that never become any."""

from __future__ import annotations

import gc

_OBJECTS_BETWEEN = 100_000
"""Python's own is 700. `import flows.maintenance`, ended by `os._exit`, took 0.0, 0.1 and 0.7 s less CPU with half of this (load 10)."""


def collect_seldom() -> None:
    """Look for garbage after many new objects only."""
    gc.set_threshold(_OBJECTS_BETWEEN, 20, 20)


def keep_for_good() -> None:
    """Never look again at what there is now: after loading, and before the process ends (0.4 to 0.8 s of CPU less, three times).

    A page that was being made waited 0.2 s when all of it was looked at.
    """
    gc.freeze()
