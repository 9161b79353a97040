"""Undo a past run by hand: every host it committed goes back, verified like an upgrade."""

from __future__ import annotations

from prefect import flow

from flows.each_host import for_each_open_host, outcome_of
from flows.opening import HOSTS_AT_ONCE, open_run, run_name, threads
from tasks.report import close_and_report
from tasks.roll_back_host import roll_back_host
from upkeep.domain.change import HostOutcome
from upkeep.domain.record import RunReport, RunRequest


@flow(name="rollback", flow_run_name=run_name, task_runner=threads(HOSTS_AT_ONCE))
def rollback(request: RunRequest) -> RunReport:
    """Put the hosts that an earlier run committed back to the version they had before it, within the plan's rollback window."""
    with open_run("rollback", request, with_archives=False) as session:
        results = for_each_open_host(session, roll_back_host)
        return close_and_report(session, *outcome_of(results, good=HostOutcome.ROLLED_BACK))
