"""How soon there is something to see: `upkeep --help`, the first host of a dry run, the first host of a run started in Prefect's UI.

Part of `make bench`; alone: `python -m tests.bench.start`. A host is reached when its sshd has taken a connection.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench.hosts import Fleet, children, fleet
from tests.bench.record import BUILD, keep_beside
from tests.bench.tools import Bench, prefect
from tests.e2e.lab.served import FINAL
from tests.torture.worker import working

HOSTS = 10
TIMES, HELP_TIMES = 3, 7
LIMIT_SECONDS = 120
LOOKED_EVERY_SECONDS = 0.002
WANTED = {"help": 0.3, "dry_run": 3.0, "started_in_ui": 7.0}
TITLES = {
    "help": "`upkeep --help`",
    "dry_run": "first host of `upkeep run maintenance --dry-run`",
    "started_in_ui": "first host of a run started in Prefect's UI, worker warm",
}
UPKEEP = Path(sys.executable).parent / "upkeep"


def measure(folder: Path, server: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each, several times; the second one and on are warm."""
    with fleet(folder, HOSTS) as hosts:
        bench = Bench(hosts, BUILD, server)
        found = {
            "help": [shown_help() for _ in range(HELP_TIMES)],
            "dry_run": [dry_run(bench) for _ in range(TIMES)],
            "started_in_ui": started_in_ui(bench, server),
        }
    return {"reached": {name: reached(name, runs) for name, runs in found.items()}}


def reached(name: str, runs: Sequence[float]) -> dict[str, Any]:
    """The figures of one of them; `wanted` is issue 4's."""
    median = round(statistics.median(runs), 2)
    return {"seconds": median, "runs": [round(run, 2) for run in runs], "wanted": WANTED[name]}


def shown_help() -> float:
    began = time.monotonic()
    subprocess.run([UPKEEP, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def dry_run(bench: Bench) -> float:
    """From the command to the first connection."""
    words, environment = bench._upkeep()
    bench.fleet.await_quiet()
    with (bench.logs / "dry-run.log").open("wb") as log:
        began = time.monotonic()
        process = subprocess.Popen([*words, "--dry-run"], env=environment, stdout=log, stderr=subprocess.STDOUT)
        reached = first_contact(bench.fleet, lambda: process.poll() is not None)
        if code := process.wait(LIMIT_SECONDS):
            raise SystemExit(f"bench: the dry run ended with code {code}: {log.name}")
    return reached - began


def started_in_ui(bench: Bench, server: dict[str, Any]) -> list[float]:
    """From the question to the server, as its UI asks it, to the first connection; the run before the first is not counted."""
    place = bench.fleet.folder / "worker"
    place.mkdir()
    request = {"inventory": str(bench.inventory), "plan": str(bench.plan), "dry_run": True}
    took = []
    with working(place, server["settings"], log=bench.logs / "worker.log") as worked:
        for _ in range(TIMES + 1):
            bench.fleet.await_quiet()
            began = time.monotonic()
            run = worked.start(request)
            took.append(first_contact(bench.fleet, lambda: worked.worker.poll() is not None) - began)
            if (state := worked.when(run, *FINAL)["state"])["type"] != "COMPLETED":
                raise SystemExit(f"bench: the run that was started in the UI: {state}")
    return took[1:]


def first_contact(fleet: Fleet, ended: Callable[[], bool]) -> float:
    """When sshd has taken a connection (monotonic seconds)."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not children(fleet.sshd.pid if fleet.sshd else 0):
        if ended() or time.monotonic() > deadline:
            raise SystemExit("bench: no host was reached")
        time.sleep(LOOKED_EVERY_SECONDS)
    return time.monotonic()


def table(found: dict[str, Any]) -> list[str]:
    """The figures as lines of a page."""
    rows = [
        f"| {TITLES[name]} | {m['seconds']:.2f} | {', '.join(f'{run:.2f}' for run in m['runs'])} | {m['wanted']:g} |"
        for name, m in found["reached"].items()
    ]
    return ["| | s, median | each time | wanted |", "| --- | --- | --- | --- |", *rows]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.start", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/upkeep-start"), help="where the hosts' trees lie")
    asked = parser.parse_args()
    with prefect(BUILD / "prefect") as server:
        found = measure(asked.folder, server)
    keep_beside("start", found)
    sys.stdout.write("\n".join(table(found)) + f"\nload {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    main()
