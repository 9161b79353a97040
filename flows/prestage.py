"""Bring the release to every host before its change, and change nothing."""

from __future__ import annotations

from prefect import flow

from flows.each_host import for_each_open_host, outcome_of
from flows.opening import HOSTS_AT_ONCE, open_run, run_name, threads
from tasks.prestage_host import prestage_host
from tasks.report import close_and_report
from upkeep.domain.record import RunReport, RunRequest


@flow(name="prestage", flow_run_name=run_name, task_runner=threads(HOSTS_AT_ONCE))
def prestage(request: RunRequest) -> RunReport:
    """Put the archive, checked, where each host's change will look for it; the maintenance that follows sends nothing again."""
    with open_run("prestage", request) as session:
        results = for_each_open_host(session, prestage_host)
        return close_and_report(session, *outcome_of(results))
