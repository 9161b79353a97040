"""Flow runs planned at the Prefect server for an instant to come, each at most once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Scheduled

from upkeep.domain.record import RunRequest
from upkeep.domain.starting import PlannedStart
from upkeep.errors import ServiceError, shorten


class Standing(StrEnum):
    """What the Prefect server says of a planned flow run."""

    NONE = "it knows of no such flow run"
    WAITING = "no worker took the flow run"
    IN_WORK = "the flow run is in work"
    OVER = "the flow run ended before the run was opened"


class FlowRuns(Protocol):
    """Where starts are planned."""

    def plan(self, runbook: str, request: RunRequest, start: PlannedStart) -> None:
        """See to it that exactly one flow run waits for this start."""

    def standing(self, start: PlannedStart) -> Standing:
        """What became of the flow run for this start."""

    def withdraw(self, start: PlannedStart, why: str) -> None:
        """Cancel the flow run for this start if it still waits."""


class PrefectFlowRuns:
    """At the Prefect server that PREFECT_API_URL names. Every method raises ServiceError when it cannot be asked."""

    def __init__(self, deployment: str = "manual") -> None:
        self._deployment = deployment

    def plan(self, runbook: str, request: RunRequest, start: PlannedStart) -> None:
        """See to it that exactly one flow run waits for this start."""
        with _translated(f"{runbook}/{self._deployment}"), get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(f"{runbook}/{self._deployment}")
            client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"request": request.model_dump(mode="json", exclude_defaults=True)},
                state=Scheduled(scheduled_time=start.at),
                idempotency_key=start.id,
                tags=["upkeep", "window"],
            )

    def standing(self, start: PlannedStart) -> Standing:
        """What became of the flow run for this start."""
        with _translated(""), get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=_keyed(start))
        if not runs or runs[0].state is None:
            return Standing.NONE
        state = runs[0].state
        if state.is_final():
            return Standing.OVER
        return Standing.WAITING if state.is_scheduled() else Standing.IN_WORK

    def withdraw(self, start: PlannedStart, why: str) -> None:
        """Cancel the flow run for this start if it still waits."""
        with _translated(""), get_client(sync_client=True) as client:
            for run in client.read_flow_runs(flow_run_filter=_keyed(start)):
                if run.state is not None and not run.state.is_final():
                    client.set_flow_run_state(run.id, Cancelled(message=why), force=True)


def _keyed(start: PlannedStart) -> FlowRunFilter:
    return FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[start.id]))


@contextmanager
def _translated(deployment: str) -> Iterator[None]:
    try:
        yield
    except ObjectNotFound as error:
        raise ServiceError(
            f"the Prefect server has no deployment {deployment}; do: upkeep up, or prefect deploy"
        ) from error
    except (PrefectException, httpx.HTTPError) as error:
        raise ServiceError(f"the Prefect server did not answer as agreed: {shorten(str(error))}") from error
