"""Verify every host: does the agent run, healthy, registered, in the version the plan names?"""

from __future__ import annotations

from prefect import flow

from flows.each_host import for_each_open_host, outcome_of
from flows.opening import HOSTS_AT_ONCE, open_run, run_name, threads
from tasks.report import close_and_report
from tasks.verify_host import verify_host
from upkeep.domain.record import RunReport, RunRequest


@flow(name="verification", flow_run_name=run_name, task_runner=threads(HOSTS_AT_ONCE))
def verification(request: RunRequest) -> RunReport:
    """Ask every target what is asked after a change, and change nothing."""
    with open_run("verification", request, with_archives=False) as session:
        results = for_each_open_host(session, verify_host)
        return close_and_report(session, *outcome_of(results))
