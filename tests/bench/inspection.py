"""`python -m tests.bench.inspection --hosts 200`: one inspection of the fleet, and the same asked by Ansible, in turn; a table.

What is wanted (issue 7): under 30 s for 200 addresses of this machine; CPU time against Ansible's `setup` and the same commands.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from tests.bench.hosts import HERE, fleet
from tests.bench.measure import Cost, adopt_orphans, measured
from tests.bench.tools import Bench, venv

BUILD = Path("build/bench").absolute()
NOT_ASKED = (
    *("host.cpu.busy", "host.cpu.iowait", "host.load.per_core", "host.pressure.io", "host.pressure.memory"),
    *("agent.unit_file", "agent.restarts_itself", "agent.state"),
)
"""What the machine's own load would make fail, and what a benchmark's stand-in for systemd does not tell."""


def inspected(bench: Bench) -> Cost:
    words = [Path(sys.executable).parent / "upkeep", "run", "health_inspection"]
    words += ["-i", bench.inventory, "-p", bench.plan, "--json", "--yes"]  # type: ignore[list-item]
    log = bench.logs / "inspection.log"
    cost = measured(words, bench._environment(), bench.fleet, log)
    text = log.read_text()
    report = json.loads(text[text.index("{\n") :])
    outcomes = [result["outcome"] for result in report["hosts"].values()]
    if outcomes != ["passed"] * len(bench.fleet.hosts):
        raise SystemExit(f"bench: {report['reason']}: {next(iter(report['hosts'].values()))}")
    return cost


def by_ansible(bench: Bench) -> Cost:
    words, environment = bench._ansible()
    words = [*words[:-1], HERE / "peers/inspection.yaml"]
    return measured(words, environment, bench.fleet, bench.logs / "ansible-inspection.log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="without Ansible")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/upkeep-bench-inspection"))
    asked = parser.parse_args()
    adopt_orphans()
    if not asked.alone:
        venv(BUILD, "ansible")
    costs: dict[str, list[Cost]] = {}
    with fleet(asked.folder, asked.hosts) as hosts:
        bench = Bench(hosts, BUILD, {})
        checks = {"adjust": {name: {"off": True} for name in NOT_ASKED}}
        (hosts.folder / "checks.yaml").write_text(json.dumps(checks))
        for _ in range(asked.repeat):
            costs.setdefault("upkeep", []).append(inspected(bench))
            if not asked.alone:
                costs.setdefault("ansible", []).append(by_ansible(bench))
    sys.stdout.write(table(asked.hosts, costs) + "\n")


def table(count: int, costs: dict[str, list[Cost]]) -> str:
    lines = [f"{count} hosts     wall s  controller CPU s  hosts' CPU s  all CPU s"]
    totals = {}
    for tool, several in costs.items():
        wall, controller, host = (
            statistics.median(getattr(c, f) for c in several) for f in ("wall", "controller_cpu", "host_cpu")
        )
        totals[tool] = controller + host
        lines.append(f"{tool:12} {wall:7.1f} {controller:17.1f} {host:13.1f} {totals[tool]:10.1f}")
    if len(totals) > 1:
        lines.append(f"Ansible's CPU divided by Upkeep's: {totals['ansible'] / totals['upkeep']:.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
