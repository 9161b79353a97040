"""Look at every host as `maintenance` would, and change nothing."""

from __future__ import annotations

from prefect import flow

from flows.each_host import for_each_open_host, outcome_of
from flows.opening import HOSTS_AT_ONCE, open_run, run_name, threads
from tasks.check_host import check_host, passed
from tasks.report import close_and_report
from upkeep.domain.record import RunReport, RunRequest


@flow(name="pre_update_check", flow_run_name=run_name, task_runner=threads(HOSTS_AT_ONCE))
def pre_update_check(request: RunRequest) -> RunReport:
    """Check every target of a plan: reachability, rights, platform, room, network, files, service, upgrade path."""
    with open_run("pre_update_check", request) as session:
        results = for_each_open_host(session, check_host, passed)
        return close_and_report(session, *outcome_of(results))
