"""Say why hosts lost their control centre: every layer from both ends, the causes weighed, the remedy named, and applied if asked for."""

from __future__ import annotations

from prefect import flow

from flows.each_host import for_each_host, outcome_of
from flows.opening import HOSTS_AT_ONCE, open_run, run_name, threads
from tasks.diagnose_host import diagnose_host, dropped_off, offered, repairs_awaited
from tasks.keep_approvals import wait_for_approval
from tasks.report import close_and_report
from upkeep.domain.record import RunReport, RunRequest


@flow(name="connection_diagnosis", flow_run_name=run_name, task_runner=threads(HOSTS_AT_ONCE))
def connection_diagnosis(request: RunRequest) -> RunReport:
    """Diagnose the hosts named, or all of the plan's targets that are not online at their control centre.

    Changes nothing, unless repairs are asked for (`repairs.apply`) and approved where the plan demands it.
    """
    with open_run("connection_diagnosis", request, with_archives=False) as session:
        awaited = repairs_awaited(session)
        results = for_each_host(session, diagnose_host, dropped_off(session), keep=lambda _: awaited is None)
        if awaited is not None and (offered(session) or session.record.plan.log_level.lasting):
            return wait_for_approval(session, awaited)
        if awaited is not None:
            for host, result in results.items():
                session.history.host_result(session.record.id, host, result)
        outcome, reason = outcome_of(results)
        return close_and_report(session, outcome, reason or "every host is online at its control centre")
