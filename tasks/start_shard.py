"""Asking the Prefect server for one more flow run that works on a run's hosts."""

from __future__ import annotations

import httpx
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException

from upkeep.errors import ServiceError

DEPLOYMENT = "shard/worker"


class NoShards(ServiceError):
    """No shard can be started: the server has no such deployment, or does not answer."""


def start_shard(run: str, number: int, lane: int) -> None:
    """Create the flow run; which worker of the pool takes it is the pool's business.

    Raises:
        NoShards: the server does not know the deployment, or did not take it.
    """
    try:
        run_deployment(
            DEPLOYMENT,
            parameters={"run": run, "number": number, "lane": lane},
            timeout=0,
            as_subflow=False,
            idempotency_key=f"shard {run} {number}",
        )
    except ObjectNotFound as error:
        raise NoShards(f"the Prefect server has no deployment {DEPLOYMENT}") from error
    except (PrefectException, httpx.HTTPError, OSError) as error:
        raise NoShards(f"the Prefect server did not start a shard: {error}") from error
