"""Runs that wait for people: taken up when enough of them approved and the window is open, ended when nobody did in time."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import PREFECT_API_URL
from prefect.states import AwaitingRetry, Cancelled

from tasks.keep_windows import WindowKeeper
from upkeep.audit.approvals import waits_for
from upkeep.audit.browsing import RunLine
from upkeep.audit.reading import RunDetail
from upkeep.domain.approval import Standing
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.wiring import Site

log = logging.getLogger(__name__)

_NO_SERVER = (PrefectException, httpx.HTTPError)
DEPLOYMENT = "manual"


def look_after(site: Site, detail: RunDetail, standing: Standing, now: datetime | None = None) -> str:
    """One run that waits and that nobody conducts: what was done about it, empty when it goes on waiting."""
    now = now or datetime.now(UTC)
    if standing.met(now):
        return "" if WindowKeeper(site.history, detail.record).may_start(now) else take_up(site, detail)
    if now < standing.lapses_at:
        return ""
    reason = f"{standing.subject} was not approved in time: {standing.told(now)}"
    close_waiting(site, detail, RunOutcome.STOPPED, reason)
    return reason


def take_up(site: Site, detail: RunDetail) -> str:
    """Have a worker go on with an approved run; how it goes on, also where there is no server."""
    by_hand = f"go on with upkeep resume {detail.id}"
    if why := WindowKeeper(site.history, detail.record).may_start(datetime.now(UTC)):
        return f"it goes on when it may: {why}"
    if not PREFECT_API_URL.value():
        return by_hand
    try:
        with get_client(sync_client=True) as client:
            return _started(client, site, detail) or by_hand
    except _NO_SERVER as error:
        log.warning("run %s: the Prefect server could not be asked: %s", detail.id, error)
        return by_hand


def _started(client: SyncPrefectClient, site: Site, detail: RunDetail) -> str:
    flow_run = None
    if detail.flow_run_id:
        try:
            flow_run = client.read_flow_run(UUID(detail.flow_run_id))
        except ObjectNotFound:
            flow_run = None
    if flow_run is not None and flow_run.deployment_id is not None:
        if flow_run.state is None or not (flow_run.state.is_scheduled() or flow_run.state.is_pending()):
            client.set_flow_run_state(flow_run.id, AwaitingRetry(message="approved"), force=True)
        return "its flow run is scheduled again"
    try:
        known = client.read_deployment_by_name(f"{detail.runbook}/{DEPLOYMENT}")
    except ObjectNotFound:
        return ""
    times = len([event for event in site.history.events(detail.id) if event.action == "run.resumed"])
    client.create_flow_run_from_deployment(
        known.id,
        parameters={"request": {"resume": detail.id, "run_id": detail.id, "reason": "approved", "source": "ui"}},
        idempotency_key=f"approved {detail.id} {times}",
    )
    return f"{detail.runbook}/{DEPLOYMENT} goes on with it"


def close_waiting(
    site: Site, detail: RunDetail, outcome: RunOutcome, reason: str, *, with_flow_run: bool = True
) -> None:
    """End a run that waits: nothing is in work, so nothing has to be put back; hosts without an outcome were not started."""
    history = site.history
    for host in detail.record.targets:
        known = detail.hosts.get(host.name)
        if known is None or known.outcome is None:
            result = HostResult(outcome=HostOutcome.NOT_STARTED, reason=reason, remedy="upkeep retry, or a new run")
            history.host_result(detail.id, host.name, result)
    history.close_run(detail.id, outcome, reason)
    if with_flow_run:
        _end_flow_run(detail, reason)


def _end_flow_run(detail: RunDetail, reason: str) -> None:
    if not (detail.flow_run_id and PREFECT_API_URL.value()):
        return
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(detail.flow_run_id), Cancelled(message=reason), force=True)
    except _NO_SERVER as error:
        log.warning("run %s: its flow run could not be ended: %s", detail.id, error)


def waiting_runs(site: Site) -> list[tuple[RunLine, Standing]]:
    """Every open run that waits for people, and how its approval stands."""
    found = ((line, waits_for(site.history, line.id)) for line in site.history.open_lines())
    return [(line, standing) for line, standing in found if standing is not None]
