"""New releases: the control centre is asked, and a plan is written for each one; nothing is started."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from tasks.watch_releases import Template, watch_all, watch_release
from upkeep.domain.change import RunOutcome
from upkeep.domain.record import RunReport, RunRequest
from upkeep.wiring import site


@flow(name="release_watch", log_prints=True)
def release_watch(request: RunRequest) -> RunReport:
    """Ask the control centre for a release newer than what the hosts run, and write a plan for it from a template.

    The plan named is the template; without one, every `*.template.yaml` in the plans' folders is. Nothing is started, and a
    release that is known already is left alone.
    """
    began = datetime.now(UTC)
    said = _watched(request, began)
    for sentence in said:
        print(sentence)  # noqa: T201 - log_prints makes it the flow run's log
    return RunReport(
        run="",
        runbook="release_watch",
        outcome=RunOutcome.SUCCEEDED,
        reason="; ".join(said) or "no template lies in the plans' folders (UPKEEP_PLANS)",
        hosts={},
        started_at=began,
        ended_at=datetime.now(UTC),
    )


def _watched(request: RunRequest, now: datetime) -> list[str]:
    if not request.plan:
        return list(watch_all(site(), now))
    template = Path(request.plan)
    inventory = Path(request.inventory) if request.inventory else template.with_name("inventory.yaml")
    return watch_release(site(), Template.read(template, inventory), now)
