"""Draws build/bench.json as docs/speed.svg: CPU and wall time of every tool, `python -m tests.bench.plot`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from tests.bench.report import FIGURES, TITLES

DRAWING = Path("docs/speed.svg")
WIDTH, NAMES, ROW, BAR, EDGE = 860, 250, 34, 9, 24
FIGURES_SHOWN = (
    ("wall", "wall time", "#4c72b0"),
    ("controller_cpu", "controller's CPU", "#dd8452"),
    ("host_cpu", "hosts' CPU", "#55a868"),
)


def drawing(known: dict[str, Any]) -> str:
    """The whole picture: a block for each number of hosts, all of it on one scale a block."""
    parts, y = [*legend(EDGE)], EDGE + ROW
    for count, about in sorted(known["hosts"].items(), key=lambda item: int(item[0])):
        tools = [(TITLES[tool], about["tools"][tool]) for tool in TITLES if tool in about["tools"]]
        parts += block(f"{count} hosts, seconds", tools, y)
        y += ROW * (len(tools) + 2)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif" font-size="12">'
    )
    title = "<title>Wall time and CPU of the same work by each tool</title>"
    return "\n".join([head, title, f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>', *parts, "</svg>", ""])


def legend(y: int) -> Iterator[str]:
    for place, (_, name, colour) in enumerate(FIGURES_SHOWN):
        x = NAMES + place * 160
        yield f'<rect x="{x}" y="{y - BAR}" width="{BAR}" height="{BAR}" fill="{colour}"/>'
        yield text(x + 2 * BAR, y, name)


def block(title: str, tools: Sequence[tuple[str, dict[str, float]]], y: int) -> Iterator[str]:
    """One number of hosts; the longest bar is as long as there is room."""
    longest = max((m[figure] for _, m in tools for figure, _, _ in FIGURES_SHOWN), default=0) or 1
    yield text(EDGE, y, title, bold=True)
    for row, (name, m) in enumerate(tools, 1):
        top = y + row * ROW - ROW // 2
        yield text(EDGE, top + 2 * BAR, name)
        for place, (figure, _, colour) in enumerate(FIGURES_SHOWN):
            width = max(1.0, m[figure] / longest * (WIDTH - NAMES - 4 * EDGE))
            bar = top + place * (BAR + 1)
            yield f'<rect x="{NAMES}" y="{bar}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
            yield text(NAMES + width + 6, bar + BAR, f"{m[figure]:.1f}", size=9)


def text(x: float, y: float, words: str, *, bold: bool = False, size: int = 12) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight} fill="#222222">{escape(words)}</text>'


def main() -> None:
    DRAWING.write_text(drawing(json.loads(FIGURES.read_text())))


if __name__ == "__main__":
    main()
