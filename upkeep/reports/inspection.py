"""An inspection's report: one HTML file for people, markdown for the Prefect UI."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

import jinja2
from markupsafe import Markup

from upkeep.domain.check import Catalogue
from upkeep.domain.finding import Verdict, worst
from upkeep.domain.inspection import Changes, Item, Looked
from upkeep.reports.charts import line, shares

MOST_ROWS = 500
_KINDS = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN, Verdict.PASS)
_CHARTED = ("host.disk.used", "host.memory.free", "host.load.per_core", "agent.memory", "agent.log.error")
_MOST_CHARTS = 60


@dataclass(frozen=True)
class Inspected:
    """All of one inspection that its report shows."""

    run: str
    plan: str
    at: datetime
    catalogue: Catalogue
    looks: Mapping[str, Looked]
    changes: Changes
    earlier: Mapping[str, Sequence[Looked]]
    silent: Mapping[str, str]
    isolated: Sequence[str] = ()

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Every host's worst verdict; a host that did not answer is unknown."""
        judged = {name: worst(look.problems) if look.problems else Verdict.PASS for name, look in self.looks.items()}
        return judged | dict.fromkeys(self.silent, Verdict.UNKNOWN)

    @property
    def counted(self) -> list[tuple[str, int]]:
        """How many hosts there are of each verdict, worst first."""
        verdicts = list(self.verdicts.values())
        return [(kind.value, verdicts.count(kind)) for kind in _KINDS]

    @property
    def answers(self) -> int:
        """How many answers were judged."""
        return sum(look.passed + len(look.problems) for look in self.looks.values())


def html(about: Inspected) -> str:
    """The report as one file: no script, no font and no picture from elsewhere."""
    bar = shares(about.counted, "hosts")
    sections = (
        ("New", about.changes.new),
        ("Still", about.changes.still),
        ("Gone", about.changes.gone),
        ("Known", about.changes.acknowledged),
    )
    shown = [(title, _sorted(items)[:MOST_ROWS], max(0, len(items) - MOST_ROWS)) for title, items in sections]
    return (
        _environment()
        .get_template("inspection.html.j2")
        .render(about=about, bar=bar, sections=shown, charts=_charts(about))
    )


def markdown(about: Inspected) -> str:
    """The report as the Prefect UI shows it."""
    counted = ", ".join(f"{number} {kind}" for kind, number in about.counted)
    lines = [
        f"# health_inspection {about.run}: {about.changes.words()}",
        "",
        f"{len(about.verdicts)} hosts: {counted}.",
        *(f"- {line}" for line in about.isolated),
    ]
    for title, items in (("New", about.changes.new), ("Still", about.changes.still), ("Gone", about.changes.gone)):
        lines += ["", f"## {title}: {len(items)}", ""] + (
            ["| host | check | verdict | why | do |", "| --- | --- | --- | --- | --- |"] if items else []
        )
        lines += [_row(item) for item in _sorted(items)[:MOST_ROWS]]
    return "\n".join(lines)


def summary(about: Inspected, most: int = 5) -> str:
    """What people are told in a chat: the counts, and what is new, worst first."""
    told = [f"{item.host}: {item.finding.reason}" for item in _sorted(about.changes.new)[:most]]
    more = len(about.changes.new) - len(told)
    told += [f"and {more} more new"] if more > 0 else []
    told += [f"gone: {item.host} {item.finding.key}" for item in _sorted(about.changes.gone)[:most]]
    return "\n".join([about.changes.words(), *about.isolated, *told])


def _sorted(items: Sequence[Item]) -> list[Item]:
    return sorted(items, key=lambda item: (_KINDS.index(item.finding.verdict), item.host, item.finding.key))


def _row(item: Item) -> str:
    finding = item.finding
    cells = (item.host, finding.key, finding.verdict.value, finding.reason, finding.remedy)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _charts(about: Inspected) -> list[tuple[str, str, float, str, Markup]]:
    """Figures over time of hosts that are not well, those with a trend first."""
    bad = [
        name for name, verdict in sorted(about.verdicts.items()) if verdict is not Verdict.PASS and name in about.looks
    ]
    drawn = (row for host in bad for row in _charts_of(about, host))
    return list(itertools.islice(drawn, _MOST_CHARTS))


def _charts_of(about: Inspected, host: str) -> Iterator[tuple[str, str, float, str, Markup]]:
    for key, value in sorted(about.looks[host].figures.items()):
        name = key.partition(":")[0]
        check = about.catalogue.find(name) if name in _CHARTED else None
        if check is not None:
            values = [one.figures[key] for one in about.earlier.get(host, ()) if key in one.figures]
            chart = line([*values, value], f"{host} {key}")
            if chart:
                yield host, key, value, check.unit, chart


@functools.cache
def _environment() -> jinja2.Environment:
    folder = resources.files("upkeep.reports")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(folder)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
