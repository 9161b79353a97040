"""One look at a stage while it soaks: its changed hosts, and the figures of the plan's triggers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.session import HostWork, RunSession
from upkeep.domain.change import Step
from upkeep.domain.engine import LAST_LOOK
from upkeep.domain.finding import Finding, regressions
from upkeep.domain.orders import Looked
from upkeep.errors import HostError
from upkeep.hosts.verification import last_look, soak_look
from upkeep.services.metrics import read_figure

AT_ONCE = 32


@task(name="look at stage", task_run_name="look at {stage}", cache_policy=NO_CACHE)
def look_at_stage(session: RunSession, stage: str, hosts: Sequence[str]) -> Looked:
    """Ask every changed host of the stage and every trigger's source once; the look that ends a run verifies hosts as after a change."""
    last = stage == LAST_LOOK
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="look") as pool:
        triggers = () if last else session.record.plan.triggers
        figures = {trigger.name: pool.submit(read_figure, trigger.source) for trigger in triggers}
        answers = dict(zip(hosts, pool.map(lambda host: _worse(session, host, last=last), hosts), strict=True))
    values = {name: figure.result() for name, figure in figures.items()}
    worse = {host: findings for host, findings in answers.items() if findings}
    silent = tuple(host for host, findings in answers.items() if findings is None)
    session.history.record(
        session.record.id,
        "stage.looked",
        stage=stage,
        body={
            "figures": {name: {"value": figure.value, "reason": figure.reason} for name, figure in values.items()},
            "worse": {host: [finding.reason for finding in findings] for host, findings in worse.items()},
            "silent": list(silent),
        },
    )
    return Looked(stage, worse, silent, {name: figure.value for name, figure in values.items()})


def _worse(session: RunSession, host: str, *, last: bool) -> tuple[Finding, ...] | None:
    """What is worse on a changed host than when it was committed; None when it gives no answer."""
    work = session.work(host)
    try:
        findings = _everything(session, work) if last else soak_look(work.transport, work.profile, session.record.plan)
    except HostError:
        return None
    worse = regressions(session.well(host), findings)
    if worse:
        session.history.findings(session.record.id, host, Step.WATCH.value, worse)
    return worse


def _everything(session: RunSession, work: HostWork) -> list[Finding]:
    version = session.release.version
    findings = last_look(work.transport, work.profile, session.record.plan, expected_version=version)
    return [*findings, *work.registration(version)]
