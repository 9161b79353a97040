"""Closing a run: its outcome into the history, its report for people and machines."""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.board import publish_report
from tasks.session import RunSession
from upkeep.audit.reading import RunDetail
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.comparison import before_after
from upkeep.domain.record import RunReport, StageReport

MOST_TABLES = 100


def close_and_report(session: RunSession, outcome: RunOutcome | None, reason: str) -> RunReport:
    """Write the outcome down and hand out the report."""
    session.history.close_run(session.record.id, outcome or RunOutcome.FAILED, reason)
    report = report_of(session.history.run(session.record.id))
    publish_report(session, "\n".join([markdown(report), *_figures(session, report)]))
    return report


def _figures(session: RunSession, report: RunReport) -> list[str]:
    """A before/after table for every changed host, up to a number that a page can show."""
    lines: list[str] = []
    changed = [name for name, result in report.hosts.items() if result.outcome is HostOutcome.COMMITTED]
    for name in changed[:MOST_TABLES]:
        phases = [
            [row.finding for row in session.history.findings_of(report.run, name, phase)]
            for phase in ("baseline", "verify")
        ]
        lines += [
            "",
            f"## {name}: before and after",
            "",
            "| figure | before | after | change | verdict |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [_row(*row.cells()) for row in before_after(*phases)]
    return lines


def report_of(detail: RunDetail) -> RunReport:
    """A run of the history as the report that the command line prints with --json."""
    return RunReport(
        run=detail.id,
        runbook=detail.runbook,
        outcome=detail.outcome or RunOutcome.FAILED,
        reason=detail.reason,
        hosts={name: host.result() for name, host in sorted(detail.hosts.items()) if host.outcome is not None},
        stages=tuple(
            StageReport(
                name=stage.name,
                hosts=tuple(stage.hosts),
                verdict=stage.verdict or "",
                reason=stage.reason or "",
                started_at=stage.opened_at,
                ended_at=stage.closed_at,
            )
            for stage in detail.stages
        ),
        started_at=detail.started_at,
        ended_at=detail.ended_at or datetime.now(UTC),
    )


def markdown(report: RunReport) -> str:
    """The report as a page: outcome, stages, hosts with reason and remedy."""
    lines = [
        f"# {report.runbook} {report.run}: {report.outcome.value}",
        "",
        f"{report.reason}. {report.started_at:%Y-%m-%d %H:%M:%S} to {report.ended_at:%H:%M:%S} UTC.",
        "",
        "| stage | hosts | verdict | why |",
        "| --- | --- | --- | --- |",
        *(_row(stage.name, str(len(stage.hosts)), stage.verdict, stage.reason) for stage in report.stages),
        "",
        "| host | outcome | from | to | why | do |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_host_row(name, result) for name, result in report.hosts.items()),
    ]
    return "\n".join(lines)


def _host_row(name: str, result: HostResult) -> str:
    return _row(
        name, result.outcome.value, result.from_version or "", result.to_version or "", result.reason, result.remedy
    )


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
