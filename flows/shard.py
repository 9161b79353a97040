"""A part of a large run: host orders taken from the run's order book and carried out here. Nothing is decided here."""

from __future__ import annotations

from functools import partial

from prefect import flow
from prefect.runtime import flow_run

from flows.handing_out import submitted
from flows.opening import HOSTS_AT_ONCE, threads
from tasks.batches import Begun, host_tasks
from tasks.shard_part import ShardPart
from upkeep.audit.order_book import Claim
from upkeep.wiring import Site, site


def _name() -> str:
    return f"shard {flow_run.parameters.get('number')} of {flow_run.parameters.get('run')}"


@flow(name="shard", flow_run_name=_name, task_runner=threads(HOSTS_AT_ONCE))
def shard(run: str, number: int, lane: int = 0) -> int:
    """Work on hosts of a run that is conducted elsewhere, until it is over; how many orders were answered.

    Started by the run itself. When this flow run dies, its hosts become another's, which asks each how far it had come.
    """
    part = ShardPart(Site(site().settings, seals=False), run, number, lane)
    with part.living(), host_tasks(part.hosts, HOSTS_AT_ONCE) as begin:
        while part.goes_on():
            for claim in part.claim(HOSTS_AT_ONCE):
                submitted(part.session_for(claim), claim.order, begin).add_done_callback(partial(_done, part, claim))
    return part.answered


def _done(part: ShardPart, claim: Claim, future: Begun) -> None:
    part.done(claim, future.result)
