"""The benchmark's figures, kept in build/bench.json beside those of other days."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.measure import Cost

BUILD = Path("build/bench").absolute()
RESULT = Path("build/bench.json")
FIGURES = ("wall", "controller_cpu", "host_cpu", "peak_mib", "server_cpu")


def medians(costs: Sequence[Cost]) -> dict[str, float]:
    return {name: round(statistics.median(getattr(cost, name) for cost in costs), 2) for name in FIGURES}


def keep(count: int, costs: dict[str, list[Cost]]) -> None:
    """Write the figures beside those of other host counts."""
    known = _known()
    about = known["hosts"].setdefault(str(count), {"tools": {}})
    for tool, several in costs.items():
        about["tools"][tool] = {
            **medians(several),
            "runs": [cost.plain() for cost in several],
            **when(),
        }
    about.update(ratios(about["tools"]))
    _write(known)


def ratios(tools: dict[str, dict[str, float]]) -> dict[str, float]:
    """Theirs divided by ours, wall time; `_pulled` where our hosts pull the archive from the controller's relay."""
    peers = [peer for peer in ("ansible", "mitogen", "pyinfra", "raw") if peer in tools]
    return {
        f"ratio_vs_{peer}{how}": round(tools[peer]["wall"] / tools[f"upkeep{how}"]["wall"], 2)
        for how in ("", "_pulled")
        if f"upkeep{how}" in tools
        for peer in peers
    }


def keep_beside(name: str, found: dict[str, Any]) -> None:
    """Write what was measured beside the comparison of tools."""
    _write({**_known(), name: {**found, **when()}})


def when() -> dict[str, str | float]:
    """When, of which commit, and how busy the machine is."""
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit(),
        "load": round(os.getloadavg()[0], 1),
    }


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"


def commit() -> str:
    words = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def _known() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {"hosts": {}}
    return known


def _write(known: dict[str, Any]) -> None:
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({**known, "machine": machine()}, indent=1) + "\n")
