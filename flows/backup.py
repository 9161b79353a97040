"""Back every host up, compare each backup with its host, and change nothing."""

from __future__ import annotations

from prefect import flow

from flows.each_host import for_each_open_host, outcome_of
from flows.opening import open_run, run_name, threads
from tasks.back_up_host import back_up_host
from tasks.report import close_and_report
from upkeep.domain.record import RunReport, RunRequest

BACKUPS_AT_ONCE = 3
"""At most three at once keep the load on storage and network low (B5)."""


@flow(name="backup", flow_run_name=run_name, task_runner=threads(BACKUPS_AT_ONCE))
def backup(request: RunRequest) -> RunReport:
    """Take one full, verified backup of every target: configuration, keys, state, service."""
    with open_run("backup", request, with_archives=False) as session:
        results = for_each_open_host(session, back_up_host, at_once=BACKUPS_AT_ONCE)
        return close_and_report(session, *outcome_of(results))
