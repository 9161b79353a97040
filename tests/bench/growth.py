"""How cost grows with hosts: `make growth`; a table, and build/growth.json.

The work is `pre_update_check`, which reads only: any number of addresses can share one directory tree.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench import documents
from tests.bench.hosts import Fleet
from tests.bench.measure import Cost, adopt_orphans, measured
from tests.bench.record import BUILD, machine, when
from tests.bench.tools import prefect

RESULT = Path("build/growth.json")


def main() -> None:
    asked = _arguments()
    adopt_orphans()
    known: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {"growth": {}}
    known["machine"] = machine()
    with prefect(BUILD / "prefect") as server:
        for count in asked.hosts:
            with shared_tree(asked.folder, count) as hosts:
                cost, _ = check(hosts, server)
            known["growth"][str(count)] = {**cost.plain(), **per_host(cost, count), **when()}
            save(known)


def check(fleet: Fleet, server: dict[str, Any], inventory: Path | None = None) -> tuple[Cost, dict[str, float]]:
    """One run; its cost, and when each host was done (seconds after the run was opened)."""
    usual, plan = documents.write(fleet) if inventory is None else (inventory, fleet.folder / "plan.yaml")
    home = fleet.folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    words = [Path(sys.executable).parent / "upkeep", "run", "pre_update_check", "-i", usual, "-p", plan, "--json"]
    own = {"UPKEEP_HOME": str(home), "UPKEEP_SSH_CONFIG": "/dev/null"}
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    logs = BUILD / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "growth.log"
    cost = measured(words, {**plain, **own, **server["settings"]}, fleet, log, int(server["pid"]))
    text = log.read_text()
    outcomes = [host["outcome"] for host in json.loads(text[text.index("{\n") :])["hosts"].values()]
    if inventory is None and outcomes != ["passed"] * len(fleet.hosts):
        raise SystemExit(f"growth: {len(fleet.hosts)} hosts, not all passed: {sorted(set(outcomes))}")
    return cost, finished(home / "history.db")


def finished(database: Path) -> dict[str, float]:
    with closing(sqlite3.connect(database)) as history:
        [(opened,)] = history.execute("select started_at from run").fetchall()
        rows = history.execute("select host, max(ended_at) from step_attempt where ended_at is not null group by host")
        began = datetime.fromisoformat(opened)
        return {host: (datetime.fromisoformat(ended) - began).total_seconds() for host, ended in rows}


@contextmanager
def shared_tree(folder: Path, count: int) -> Iterator[Fleet]:
    """So many addresses, all with the first one's tree and agent."""
    with Fleet(folder, count) as fleet:
        every, fleet.hosts = fleet.hosts, fleet.hosts[:1]
        fleet.reset()
        fleet.hosts = every
        for host in every[1:]:
            host.root.symlink_to(every[0].root)
        yield fleet


def per_host(cost: Cost, count: int) -> dict[str, float]:
    return {"controller_cpu_ms_per_host": round(1000 * cost.controller_cpu / count, 1)}


def save(known: dict[str, Any]) -> None:
    counts = sorted(map(int, known["growth"]))
    for fewer, more in itertools.pairwise(counts):
        low, high = known["growth"][str(fewer)], known["growth"][str(more)]
        further = (high["controller_cpu"] - low["controller_cpu"]) / (more - fewer)
        high["controller_cpu_ms_per_further_host"] = round(1000 * further, 1)
    RESULT.write_text(json.dumps(known, indent=1) + "\n")
    sys.stdout.write("\n".join(["", *table(known)]) + "\n")


def table(known: dict[str, Any]) -> list[str]:
    lines = ["| hosts | wall s | controller CPU s | ms per host | ms per further host | peak MiB |", "| --- " * 6 + "|"]
    for count in sorted(known["growth"], key=int):
        m = known["growth"][count]
        further = m.get("controller_cpu_ms_per_further_host", "")
        cells = (count, m["wall"], m["controller_cpu"], m["controller_cpu_ms_per_host"], further, m["peak_mib"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make growth", description=__doc__)
    parser.add_argument("--hosts", default="10,50,200,1000,5000", help="numbers of addresses")
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp/upkeep-growth"), help="where the hosts' tree lies"
    )
    asked = parser.parse_args(words)
    asked.hosts = [int(count) for count in asked.hosts.split(",") if count]
    return asked


if __name__ == "__main__":
    main()
