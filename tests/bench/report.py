"""Puts the figures of build/bench.json into docs/speed.md, and those of 50 hosts into README.md: `python -m tests.bench.report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench import neighbours, start
from tests.bench.tools import TOOLS

DOCUMENT, README, FIGURES = Path("docs/speed.md"), Path("README.md"), Path("build/bench.json")
BEGIN, END = "<!-- figures: tests/bench/report.py -->", "<!-- end of figures -->"
TITLES = {
    "upkeep": "Upkeep, Prefect server running",
    "upkeep_pulled": "Upkeep, hosts pull from its relay",
    "upkeep_alone": "Upkeep, Prefect in its own process",
    "raw": "paramiko by hand",
    "pyinfra": "pyinfra",
    "mitogen": "Ansible + Mitogen",
    "ansible": "Ansible",
}


def figures(known: dict[str, Any]) -> str:
    """The tables, one for each number of hosts."""
    lines = [f"Machine: {known['machine']}."]
    for count, about in sorted(known["hosts"].items(), key=lambda item: int(item[0])):
        lines += [
            "",
            f"### {count} hosts",
            "",
            "| tool | wall s | controller CPU s | hosts' CPU s | peak MiB | runs | when | commit |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *(row(tool, about["tools"][tool]) for tool in TOOLS if tool in about["tools"]),
        ]
        told = [f"{name} {value:g}" for name, value in sorted(about.items()) if name.startswith("ratio_")]
        if told:
            lines += ["", f"Theirs divided by ours (wall): {', '.join(told)}."]
    for title, part in (("Start", start), ("Bad neighbours", neighbours)):
        name = part.__name__.rpartition(".")[2]
        if name in known:
            lines += ["", f"### {title}", "", *part.table(known[name]), "", measured(known[name])]
    return "\n".join(lines)


def measured(about: dict[str, Any]) -> str:
    return f"Measured {about['at']}, {about['commit']}, load {about['load']:g} at the end."


def row(tool: str, m: dict[str, Any]) -> str:
    cells = [f"{m['wall']:.1f}", f"{m['controller_cpu']:.2f}", f"{m['host_cpu']:.1f}", f"{m['peak_mib']:.0f}"]
    return f"| {' | '.join([TITLES[tool], *cells, str(len(m['runs'])), m['at'], m['commit']])} |"


def short(known: dict[str, Any]) -> str:
    """Seconds of every tool with 50 hosts."""
    tools = known["hosts"]["50"]["tools"]
    rows = (
        f"| {TITLES[tool]} | {m['wall']:.1f} | {m['controller_cpu']:.1f} | {m['host_cpu']:.1f} |"
        for tool, m in ((tool, tools[tool]) for tool in TOOLS if tool in tools)
    )
    head = ["| 50 hosts, seconds | wall | controller's CPU | hosts' CPU |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def put(document: Path, told: str) -> None:
    """Between the two marks of a document."""
    before, rest = document.read_text().split(BEGIN)
    document.write_text(f"{before}{BEGIN}\n{told}\n{END}{rest.split(END)[1]}")


def main() -> None:
    known = json.loads(FIGURES.read_text())
    put(DOCUMENT, figures(known))
    put(README, short(known))


if __name__ == "__main__":
    main()
