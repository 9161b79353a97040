"""`upkeep status`, `stop` and `history`: what runs did and how they stand."""

from __future__ import annotations

import getpass
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from upkeep.audit.approvals import waits_for
from upkeep.audit.history import History
from upkeep.audit.reading import MissedStart, RunDetail, RunSummary
from upkeep.commands.approving import show_waiting, stop_waiting
from upkeep.commands.archiving import reading
from upkeep.commands.running import print_json
from upkeep.console.report import show_report
from upkeep.console.screen import coloured, screen
from upkeep.domain.change import Journal
from upkeep.domain.comparison import before_after, told_once
from upkeep.domain.finding import Verdict
from upkeep.domain.record import Actor, Happening, RunRecord
from upkeep.errors import HostError
from upkeep.process import lives
from upkeep.project import put_on_path
from upkeep.wiring import site

Listed = TypeVar("Listed")


def list_runs(*, limit: int, host: str, as_json: bool) -> None:
    """Runs, newest first, and among them the starts that were missed."""
    runs = site().history.runs(limit=limit, host=host)
    missed = [] if host else site().history.missed_starts(limit=limit)
    if as_json:
        listed = [(run.started_at, run.model_dump(mode="json")) for run in runs]
        listed += [(start.planned, start.model_dump(mode="json") | {"outcome": "missed"}) for start in missed]
        sys.stdout.write(json.dumps([entry for _, entry in _newest(listed, limit)], indent=2) + "\n")
        return
    rows = [(run.started_at, _run_cells(run)) for run in runs] + [
        (start.planned, _missed_cells(start)) for start in missed
    ]
    table = _table("run", "runbook", "plan", "started", "took", "outcome", "hosts", "by", "why")
    for _, cells in _newest(rows, limit):
        table.add_row(*cells)
    screen().print(table if rows else "no runs yet")


def _newest(rows: list[tuple[datetime, Listed]], limit: int) -> list[tuple[datetime, Listed]]:
    return sorted(rows, key=lambda row: row[0], reverse=True)[:limit]


def _run_cells(run: RunSummary) -> tuple[str, ...]:
    took = f"{(run.ended_at - run.started_at).total_seconds():.0f} s" if run.ended_at else "running"
    outcome = coloured(run.outcome.value) if run.outcome else "running"
    hosts = ", ".join(f"{number} {kind}" for kind, number in sorted(run.host_outcomes.items()))
    started = f"{run.started_at:%Y-%m-%d %H:%M:%S}"
    return (run.id, run.runbook, run.plan, started, took, outcome, hosts, run.actor, escape(run.reason))


def _missed_cells(start: MissedStart) -> tuple[str, ...]:
    following = f"; next start: {start.next}" if start.next else ""
    planned, plan = f"{start.planned:%Y-%m-%d %H:%M:%S}", Path(start.plan).name.removesuffix(".yaml")
    why = escape(start.reason + following)
    return (start.id, start.runbook, plan, planned, "", "[yellow]missed[/yellow]", "", "schedule", why)


def show_run(run_id: str, *, host: str, as_json: bool, archive: Path | None = None) -> None:
    """One run: its report, then every step with its time and result, then what was found to be wrong."""
    put_on_path()
    from tasks.report import report_of  # noqa: PLC0415 - the runbooks are on the path only now

    with reading(site(), archive) as history:
        detail = history.run(run_id)
        if as_json:
            print_json(report_of(detail))
            return
        console = screen()
        show_report(console, report_of(detail))
        console.print(
            f"\nasked by {detail.actor} ({detail.source}), plan hash {detail.record.plan_hash[:16]}"
            + (f", ticket {detail.ticket}" if detail.ticket else ""),
            markup=False,
        )
        for line in _narrowed(detail.record):
            console.print(line, markup=False)
        _show_stages(console, detail)
        _show_steps(console, history, detail, host)
        _show_findings(console, history, detail, host)
        if host:
            _show_before_after(console, history, detail, host)


def _narrowed(record: RunRecord) -> list[str]:
    """What the run was asked to do otherwise than its plan says."""
    settings = " ".join(f"{key}={value}" for key, value in sorted(record.settings.items()))
    return [f"with --set {settings}"] * bool(settings) + [f"only the hosts {record.hosts}"] * bool(record.hosts)


def show_status(run_id: str, *, as_json: bool) -> int:
    """How a run stands; when its controller died, what the hosts' own journals say."""
    put_on_path()
    from tasks.report import report_of  # noqa: PLC0415 - the runbooks are on the path only now

    detail = site().history.run(run_id)
    if detail.outcome is not None:
        return _show_ended(detail, as_json=as_json)
    if (standing := waits_for(site().history, detail.id)) is not None:
        return show_waiting(detail, standing, as_json=as_json)
    alive = lives(detail.process)
    journals = {} if alive else _ask_hosts(detail)
    if as_json:
        document = report_of(detail).model_dump(mode="json") | {
            "outcome": "running" if alive else "controller died",
            "ended_at": None,
        }
        document["journals"] = {
            name: journal.model_dump(mode="json") if isinstance(journal, Journal) else journal
            for name, journal in journals.items()
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 0
    console = screen()
    state = "is running" if alive else "has no controller any more: its process is gone"
    console.print(f"run {detail.id} ({detail.runbook}, started {detail.started_at:%Y-%m-%d %H:%M:%S} UTC) {state}")
    table = _table("host", "outcome", "last step", "the host's own journal")
    for name in sorted(host.name for host in detail.record.targets):
        row = detail.hosts.get(name)
        journal = journals.get(name, "")
        said = _journal_text(journal, detail.id) if isinstance(journal, Journal) else journal
        table.add_row(
            name,
            coloured(row.outcome.value) if row and row.outcome else "",
            row.current_step if row else "",
            escape(said),
        )
    console.print(table)
    if not alive:
        console.print(
            f"→ hosts that were in work go back by themselves when their dead-man switch fires; to go on now: upkeep resume {detail.id}",
            markup=False,
        )
    return 0


def ask_stop(run_id: str, reason: str) -> None:
    """Ask a run to stop after the hosts in work."""
    detail = site().history.run(run_id)
    if detail.outcome is not None:
        screen().print(f"run {detail.id} is over: {detail.outcome.value}")
        return
    if waits_for(site().history, detail.id) is not None:
        screen().print(stop_waiting(detail, reason))
        return
    site().history.request_stop(detail.id, Actor(name=getpass.getuser()), reason or "stopped by hand")
    screen().print(f"run {detail.id} finishes the hosts in work and starts no more")


def _show_ended(detail: RunDetail, *, as_json: bool) -> int:
    from tasks.report import report_of  # noqa: PLC0415 - the runbooks are on the path only now

    if as_json:
        print_json(report_of(detail))
    else:
        show_report(screen(), report_of(detail))
    return 0


def _ask_hosts(detail: RunDetail) -> dict[str, Journal | str]:
    """Every host's journal, or why it could not be read."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only for dead runs

    hosts = detail.record.targets
    targets = site().targets(hosts, {host.name: host for host in hosts})

    def ask(name: str) -> Journal | str:
        host = next(h for h in hosts if h.name == name)
        transport = site().transport(targets[name])
        try:
            return site().change(transport, site().profile_for(detail.record.profile, host)).inspect().journal
        except HostError as error:
            return str(error)
        finally:
            transport.close()

    with ThreadPoolExecutor(max_workers=32) as pool:
        names = [host.name for host in hosts]
        return dict(zip(names, pool.map(ask, names), strict=True))


def _journal_text(journal: Journal, run: str) -> str:
    if journal.run != run:
        return f"nothing of this run ({journal.state.value})"
    at = f"{datetime.fromtimestamp(journal.updated_at, UTC):%H:%M:%S} UTC" if journal.updated_at else ""
    by = " by its dead-man switch" if journal.actor == "guard" else ""
    why = f": {journal.reason}" if journal.reason else ""
    return f"{journal.state.value}{by} {at}{why}"


def _show_stages(console: Console, detail: RunDetail) -> None:
    for stage in detail.stages:
        console.print(
            f"stage {escape(stage.name)}: {len(stage.hosts)} hosts, {stage.verdict or 'open'}. {escape(stage.reason or '')}"
        )


def _show_steps(console: Console, history: History, detail: RunDetail, host: str) -> None:
    table = _table("host", "step", "began", "took", "result", "why")
    for step in history.steps(detail.id, host):
        took = f"{(step.ended_at - step.intent_at).total_seconds():.2f} s" if step.ended_at else ""
        result = step.happening.value if step.happening is not Happening.INTENT else "no result"
        table.add_row(step.host, step.step.value, f"{step.intent_at:%H:%M:%S}", took, result, escape(step.reason))
    console.print(table)


def _show_before_after(console: Console, history: History, detail: RunDetail, host: str) -> None:
    found = {
        phase: [row.finding for row in history.findings_of(detail.id, host, phase)] for phase in ("baseline", "verify")
    }
    rows = before_after(found["baseline"], found["verify"])
    if rows:
        table = _table("figure", "before", "after", "change", "verdict")
        for row in rows:
            table.add_row(*row.cells())
        console.print(table)


def _show_findings(console: Console, history: History, detail: RunDetail, host: str) -> None:
    names = [host] if host else sorted(detail.hosts)
    table = _table("host", "when", "finding", "verdict", "reason", "do")
    for name in names:
        rows = history.findings_of(detail.id, name)
        for seen in told_once((row.phase, row.finding) for row in rows):
            if host or seen.finding.verdict is not Verdict.PASS:
                finding = seen.finding
                table.add_row(
                    name, seen.when, finding.key, finding.verdict.value, escape(finding.reason), escape(finding.remedy)
                )
    if table.row_count:
        console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
