"""Every minute: runs whose controller died are marked, and taken up again where their plan says so."""

from __future__ import annotations

from prefect import flow

from tasks.reconcile_runs import reconcile_runs
from upkeep.wiring import site


@flow(name="reconciliation", log_prints=True)
def reconciliation() -> list[str]:
    """Find runs that nobody conducts any more; one sentence for each."""
    found = [f"run {orphan.run}: {orphan.done}" for orphan in reconcile_runs(site())]
    for sentence in found:
        print(sentence)  # noqa: T201 - log_prints makes it the flow run's log
    return found
