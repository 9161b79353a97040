"""The stages of a change alone: what `maintenance` does, without the verification of the whole fleet at the end."""

from __future__ import annotations

from prefect import flow

from flows.conduct import conduct, engine_of
from flows.opening import HOSTS_AT_ONCE, open_run, run_name, threads
from tasks.keep_approvals import wait_for_approval
from tasks.report import close_and_report
from upkeep.domain.record import RunReport, RunRequest


@flow(name="staged_upgrade", flow_run_name=run_name, task_runner=threads(HOSTS_AT_ONCE))
def staged_upgrade(request: RunRequest) -> RunReport:
    """Change the targets stage by stage; hosts that turn bad are put back by themselves."""
    with open_run("staged_upgrade", request) as session:
        engine = engine_of(session, last_look=False)
        conduct(session, engine)
        if engine.waits_for:
            return wait_for_approval(session, engine.waits_for)
        return close_and_report(session, engine.outcome, engine.reason)
