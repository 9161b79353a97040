"""The whole change: check, back up, upgrade in stages, watch, verify, undo what went wrong, report."""

from __future__ import annotations

from prefect import flow

from flows.conduct import conduct, engine_of
from flows.opening import HOSTS_AT_ONCE, open_run, run_name, threads
from tasks.keep_approvals import wait_for_approval
from tasks.report import close_and_report
from upkeep.domain.record import RunReport, RunRequest


@flow(name="maintenance", flow_run_name=run_name, task_runner=threads(HOSTS_AT_ONCE))
def maintenance(request: RunRequest) -> RunReport:
    """Take a fleet from one version of an agent to another, one stage after the other.

    Every target is checked before the first one is changed. Each host is then backed up, switched, watched and committed, or put
    back by itself. Stages are watched before the next one starts, and every changed host is verified once more at the end: one that is
    not well any more goes back.
    """
    with open_run("maintenance", request) as session:
        engine = engine_of(session)
        conduct(session, engine)
        if engine.waits_for:
            return wait_for_approval(session, engine.waits_for)
        return close_and_report(session, engine.outcome, engine.reason)
