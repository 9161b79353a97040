"""Runs whose controller died must not look as if they ran: they are marked, and taken up again where their plan says so."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import AwaitingRetry, Crashed

from tasks.resume_run import is_conducted
from tasks.take_up_approved import look_after
from upkeep.audit.approvals import waits_for
from upkeep.audit.reading import RunDetail
from upkeep.wiring import Site

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Orphan:
    """A run without a controller, and what was done about it."""

    run: str
    done: str


def reconcile_runs(site: Site) -> list[Orphan]:
    """Look for runs whose controller is gone; note each once, correct its flow run, and hand it to a worker if its plan says so."""
    unconducted = [detail for detail in site.history.open_runs() if not is_conducted(detail)]
    waiting = {detail.id: standing for detail in unconducted if (standing := waits_for(site.history, detail.id))}
    looked = [
        Orphan(detail.id, look_after(site, detail, waiting[detail.id]))
        for detail in unconducted
        if detail.id in waiting
    ]
    unconducted = [detail for detail in unconducted if detail.id not in waiting]
    return [orphan for orphan in looked if orphan.done] + (_corrected(site, unconducted) if unconducted else [])


def _corrected(site: Site, unconducted: list[RunDetail]) -> list[Orphan]:
    with get_client(sync_client=True) as client:
        done = [(detail, _correct(client, detail)) for detail in unconducted]
    return [_noted(site, detail, what) for detail, what in done if what]


def _noted(site: Site, detail: RunDetail, done: str) -> Orphan:
    known = [event for event in site.history.events(detail.id) if event.action == "run.orphaned"]
    if not any(event.body.get("process") == detail.process for event in known):
        site.history.record(detail.id, "run.orphaned", reason=done, body={"process": detail.process})
    return Orphan(detail.id, done)


def _correct(client: SyncPrefectClient, detail: RunDetail) -> str:
    """Correct the state of the flow run; what is to be known, empty when the run only waits (suspended, scheduled again)."""
    by_hand = f"go on with upkeep resume {detail.id}"
    try:
        flow_run = client.read_flow_run(UUID(detail.flow_run_id)) if detail.flow_run_id else None
        if flow_run is None or flow_run.state is None:
            return f"nobody conducts it; {by_hand}"
        if flow_run.state.is_paused() or flow_run.state.is_scheduled() or flow_run.state.is_pending():
            return ""
        if detail.record.plan.resume == "auto" and flow_run.deployment_id is not None:
            client.set_flow_run_state(flow_run.id, AwaitingRetry(message="its controller died"), force=True)
            return "its flow run is scheduled again and goes on where the hosts say it was left"
        if not flow_run.state.is_final():
            why = f"its process is gone; hosts in work go back by themselves; {by_hand}"
            client.set_flow_run_state(flow_run.id, Crashed(message=why), force=True)
    except ObjectNotFound:
        return f"nobody conducts it, and the Prefect server does not know it; {by_hand}"
    except (PrefectException, httpx.HTTPError) as error:
        log.warning("run %s: the Prefect server could not be asked: %s", detail.id, error)
        return ""
    return f"its process is gone and its flow run is marked Crashed; {by_hand}"
