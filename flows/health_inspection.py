"""Look at every host from end to end, compare it with last time and with its like, and tell people what changed."""

from __future__ import annotations

from prefect import flow

from flows.each_host import for_each_open_host
from flows.opening import HOSTS_AT_ONCE, open_run, run_name, threads
from tasks.conclude_inspection import Inspection, conclude
from tasks.inspect_host import inspect_host
from tasks.report import close_and_report
from upkeep.domain.record import RunReport, RunRequest


@flow(name="health_inspection", flow_run_name=run_name, task_runner=threads(HOSTS_AT_ONCE))
def health_inspection(request: RunRequest) -> RunReport:
    """Inspect every target of a plan in one round trip each, changing nothing; report, and alert only on change."""
    with open_run("health_inspection", request, with_archives=False) as session:
        inspection = Inspection(session)
        results = for_each_open_host(session, inspect_host, inspection.take, keep=inspection.did_not_answer)
        return close_and_report(session, *conclude(inspection, results))
