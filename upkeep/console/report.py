"""The end of a run for a person: outcome, hosts, what to do next."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from upkeep.console.screen import coloured
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.progress import is_good
from upkeep.domain.record import RunReport

_MOST_GOOD_ROWS = 20


def show_report(console: Console, report: RunReport) -> None:
    """Print a run's report."""
    seconds = (report.ended_at - report.started_at).total_seconds()
    console.print(
        f"\n{report.runbook} {report.run}: {coloured(report.outcome.value)} in {seconds:.0f} s ({escape(report.reason)})\n"
    )
    console.print(_hosts(report.hosts))
    for line in next_steps(report):
        console.print(f"→ {escape(line)}")


def next_steps(report: RunReport) -> Iterable[str]:
    """What a person may want to do now, as commands."""
    outcomes = {result.outcome for result in report.hosts.values()}
    yield f"what happened, step by step: upkeep history show {report.run}"
    unfinished = {HostOutcome.SET_ASIDE, HostOutcome.BLOCKED, HostOutcome.FAILED, HostOutcome.NOT_STARTED}
    if outcomes & unfinished and report.outcome is not RunOutcome.SUCCEEDED:
        yield f"once the causes are removed, finish exactly those hosts: upkeep retry {report.run}"
    if HostOutcome.COMMITTED in outcomes:
        yield f"to undo the whole run: upkeep rollback {report.run} --reason TEXT"


def _hosts(hosts: dict[str, HostResult]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("host", "outcome", "from", "to", "why", "do"):
        table.add_column(column, overflow="fold")
    good = [name for name, result in hosts.items() if is_good(result.outcome)]
    bad = [name for name in hosts if name not in good]
    for name in sorted(bad) + sorted(good)[:_MOST_GOOD_ROWS]:
        result = hosts[name]
        table.add_row(
            escape(name),
            coloured(result.outcome.value),
            result.from_version or "",
            result.to_version or "",
            escape(result.reason),
            escape(result.remedy),
        )
    if len(good) > _MOST_GOOD_ROWS:
        table.add_row(f"… {len(good) - _MOST_GOOD_ROWS} more", "good")
    return table
