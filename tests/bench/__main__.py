"""`make bench`: the same work by Upkeep and its peers on real SSH servers, in turn; a table, and build/bench.json."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.hosts import fleet
from tests.bench.measure import Cost, adopt_orphans
from tests.bench.tools import TOOLS, Bench, prefect, venv

BUILD = Path("build/bench").absolute()
FIGURES = ("wall", "controller_cpu", "host_cpu", "peak_mib", "server_cpu")


def main() -> None:
    asked = _arguments()
    adopt_orphans()
    tools = [tool for tool in TOOLS if tool in asked.only]
    for tool in tools:
        if tool not in {"upkeep", "upkeep_alone"}:
            venv(BUILD, tool)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(prefect(BUILD / "prefect")) if "upkeep" in tools else {}
        for count in asked.hosts:
            with fleet(asked.folder, count) as hosts:
                bench = Bench(hosts, BUILD, server)
                costs = in_turn(bench, tools, asked.repeat)
            keep(count, costs)
            sys.stdout.write(table(count, costs) + "\n")


def in_turn(bench: Bench, tools: Sequence[str], repeat: int) -> dict[str, list[Cost]]:
    """A B C D A B C D: a machine that slows down slows all of them."""
    costs: dict[str, list[Cost]] = {tool: [] for tool in tools}
    for _ in range(repeat):
        for tool in tools:
            costs[tool].append(bench.run(tool))
            sys.stderr.write(f"bench: {len(bench.fleet.hosts)} hosts, {tool}: {costs[tool][-1].plain()}\n")
    return costs


def medians(costs: Sequence[Cost]) -> dict[str, float]:
    return {name: round(statistics.median(getattr(cost, name) for cost in costs), 2) for name in FIGURES}


def keep(count: int, costs: dict[str, list[Cost]]) -> None:
    """Write the figures beside those of other host counts."""
    path = Path("build/bench.json")
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"hosts": {}}
    about = known["hosts"].setdefault(str(count), {"tools": {}})
    for tool, several in costs.items():
        about["tools"][tool] = {
            **medians(several),
            "runs": [cost.plain() for cost in several],
            "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "commit": commit(),
        }
    about.update(ratios(about["tools"]))
    known["machine"] = f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"
    path.write_text(json.dumps(known, indent=1) + "\n")


def ratios(tools: dict[str, dict[str, float]]) -> dict[str, float]:
    """Theirs divided by ours, wall time."""
    if "upkeep" not in tools:
        return {}
    ours = tools["upkeep"]["wall"]
    peers = ("ansible", "mitogen", "pyinfra", "raw")
    return {f"ratio_vs_{peer}": round(tools[peer]["wall"] / ours, 2) for peer in peers if peer in tools}


def table(count: int, costs: dict[str, list[Cost]]) -> str:
    lines = [f"\n{count} hosts{'':12} wall s  controller CPU s  hosts' CPU s  peak MiB  Prefect server CPU s"]
    for tool, several in costs.items():
        m = medians(several)
        row = f"{m['wall']:7.1f} {m['controller_cpu']:17.2f} {m['host_cpu']:13.1f} {m['peak_mib']:9.0f}"
        lines.append(f"{tool:18} {row} {m['server_cpu']:21.1f}")
    return "\n".join(lines)


def commit() -> str:
    words = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--hosts", default="50", help="numbers of hosts, e.g. 10,50,200")
    parser.add_argument("--only", default="", help=f"tools, of {','.join(TOOLS)}")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/upkeep-bench"), help="where the hosts' trees lie")
    asked = parser.parse_args()
    asked.hosts = [int(count) for count in str(asked.hosts).split(",")]
    asked.only = str(asked.only).split(",") if asked.only else list(TOOLS)
    return asked


if __name__ == "__main__":
    main()
