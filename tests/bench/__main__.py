"""`make bench`: how soon a run starts, the same work by Upkeep and its peers on real SSH servers, in turn, and bad neighbours.

Prints tables, and keeps the figures in build/bench.json.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench import neighbours, start
from tests.bench.hosts import fleet
from tests.bench.measure import Cost, adopt_orphans
from tests.bench.record import BUILD, keep, keep_beside, medians
from tests.bench.tools import OURS, TOOLS, WITH_SERVER, Bench, prefect, venv

BESIDE = {"start": start, "neighbours": neighbours}
SELDOM = ("upkeep_alone",)
"""Only when they are named: what they tell is told by others, and `make bench` has to end within 20 minutes."""


def main() -> None:
    asked = _arguments()
    adopt_orphans()
    tools = [tool for tool in TOOLS if tool in asked.only]
    for tool in tools:
        if tool not in OURS:
            venv(BUILD, tool)
    with contextlib.ExitStack() as stack:
        needed = {*WITH_SERVER, *BESIDE} & set(asked.only)
        server = stack.enter_context(prefect(BUILD / "prefect")) if needed else {}
        beside("start", asked, server)
        for count in asked.hosts if tools else ():
            with fleet(asked.folder, count) as hosts:
                bench = Bench(hosts, BUILD, server)
                costs = in_turn(bench, tools, asked.repeat)
            keep(count, costs)
            sys.stdout.write(table(count, costs) + "\n")
        beside("neighbours", asked, server)


def beside(name: str, asked: argparse.Namespace, server: dict[str, Any]) -> None:
    """What is measured besides the tools, if it was asked for."""
    if name in asked.only:
        found = BESIDE[name].measure(asked.folder, server)
        keep_beside(name, found)
        sys.stdout.write("\n".join(["", *BESIDE[name].table(found), ""]))
        sys.stdout.flush()


def in_turn(bench: Bench, tools: Sequence[str], repeat: int) -> dict[str, list[Cost]]:
    """A B C D A B C D: a machine that slows down slows all of them."""
    costs: dict[str, list[Cost]] = {tool: [] for tool in tools}
    for _ in range(repeat):
        for tool in tools:
            costs[tool].append(run(bench, tool))
            sys.stderr.write(f"bench: {len(bench.fleet.hosts)} hosts, {tool}: {costs[tool][-1].plain()}\n")
    return costs


def run(bench: Bench, tool: str) -> Cost:
    """One run; a peer that lost a host is given a second try, Upkeep is not."""
    try:
        return bench.run(tool)
    except SystemExit as ended:
        if tool in OURS:
            raise
        sys.stderr.write(f"{ended}\nbench: {tool} is tried once more\n")
        return bench.run(tool)


def table(count: int, costs: dict[str, list[Cost]]) -> str:
    lines = [f"\n{count} hosts{'':12} wall s  controller CPU s  hosts' CPU s  peak MiB  Prefect server CPU s"]
    for tool, several in costs.items():
        m = medians(several)
        row = f"{m['wall']:7.1f} {m['controller_cpu']:17.2f} {m['host_cpu']:13.1f} {m['peak_mib']:9.0f}"
        lines.append(f"{tool:18} {row} {m['server_cpu']:21.1f}")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--hosts", default="50", help="numbers of hosts, e.g. 10,50,200")
    parser.add_argument("--only", default="", help=f"what is measured, of {','.join((*BESIDE, *TOOLS))}")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/upkeep-bench"), help="where the hosts' trees lie")
    asked = parser.parse_args()
    asked.hosts = [int(count) for count in str(asked.hosts).split(",")]
    usual = [*BESIDE, *(tool for tool in TOOLS if tool not in SELDOM)]
    asked.only = str(asked.only).split(",") if asked.only else usual
    return asked


if __name__ == "__main__":
    main()
