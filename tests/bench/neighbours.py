"""Whether one bad host in twenty slows the sound ones. Part of `make bench`; alone: `python -m tests.bench.neighbours --hosts 80`.

The work is `pre_update_check`. Measured is when the last of the sound hosts was done (after the run was opened), with and without.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.bench.growth import check, shared_tree
from tests.bench.hosts import BenchHost, Fleet
from tests.bench.measure import adopt_orphans
from tests.bench.record import BUILD, keep_beside
from tests.bench.slow import KINDS, Doors, doors
from tests.bench.tools import prefect

HOSTS, ONE_IN = 80, 20
TITLES = {
    "far": "300 ms round trip",
    "trickling": "one byte a second",
    "silent": "no answer after connecting",
    "unreachable": "every packet dropped",
}


def measure(folder: Path, server: dict[str, Any], *, count: int = HOSTS) -> dict[str, Any]:
    """Seconds until the sound hosts were done: alone (before and after all others), and beside each kind of bad ones."""
    with shared_tree(folder, count) as fleet, doors(fleet) as opened:
        bad = fleet.hosts[::ONE_IN]
        sound = [host.address for host in fleet.hosts if host not in bad]
        alone = [last_of(sound, check(fleet, server)[1])]
        beside = {kind: last_of(sound, check(fleet, server, spoilt(fleet, opened, bad, kind))[1]) for kind in KINDS}
        alone.append(last_of(sound, check(fleet, server)[1]))
    without = sum(alone) / len(alone)
    kinds = {
        kind: {"sound_done": round(seconds, 2), "ratio": round(seconds / without, 2)}
        for kind, seconds in beside.items()
    }
    return {"hosts": count, "bad": len(bad), "alone": [round(seconds, 2) for seconds in alone], "kinds": kinds}


def last_of(hosts: Iterable[str], times: dict[str, float]) -> float:
    return max(times[host] for host in hosts)


def spoilt(fleet: Fleet, opened: Doors, bad: Sequence[BenchHost], kind: str) -> Path:
    """The inventory with a door of this kind before each bad host."""
    inventory = yaml.safe_load((fleet.folder / "inventory.yaml").read_text())
    public = " ".join((fleet.folder / "host_key.pub").read_text().split()[:2])
    with fleet.known_hosts.open("a") as known:
        for host in bad:
            port = opened.open(host, kind)
            inventory["hosts"][host.address]["port"] = port
            known.write(f"[{host.address}]:{port} {public}\n")
    path = fleet.folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(inventory))
    return path


def table(found: dict[str, Any]) -> list[str]:
    """The figures as lines of a page."""
    without = " and ".join(f"{seconds:.1f}" for seconds in found["alone"])
    rows = [f"| {TITLES[kind]} | {m['sound_done']:.1f} | {m['ratio']:.2f} |" for kind, m in found["kinds"].items()]
    head = f"| {found['bad']} of {found['hosts']} hosts | the others done after, s (without: {without}) | ratio |"
    return [head, "| --- | --- | --- |", *rows]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.neighbours", description=__doc__)
    parser.add_argument("--hosts", type=int, default=HOSTS)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/upkeep-neighbours"), help="where the tree lies")
    asked = parser.parse_args()
    adopt_orphans()
    with prefect(BUILD / "prefect") as server:
        found = measure(asked.folder, server, count=asked.hosts)
    keep_beside("neighbours", found)
    sys.stdout.write("\n".join(table(found)) + f"\nload {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    main()
