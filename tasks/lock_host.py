"""Owning a host for the time of a change: one host belongs to one run at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from tasks.session import HostWork, RunSession
from upkeep.domain.change import UNFINISHED, Step
from upkeep.domain.plan import Plan
from upkeep.errors import HostError
from upkeep.hosts.host_change import Order
from upkeep.hosts.host_state import Standing
from upkeep.process import lives


def order_of(session: RunSession, *, from_version: str = "", machine: str = "", libc: str = "") -> Order:
    """What this run wants of one host, before the host has given it a fence."""
    record = session.record
    archive = session.archive_for(machine, libc) if machine else None
    return Order(
        run=record.id,
        owner=record.actor.name,
        reason=record.reason or f"{record.runbook} {record.plan.name}",
        fence=0,
        from_version=from_version,
        to_version=record.release.version if record.release else "",
        artifact_sha256=archive.artifact.sha256 if archive else "",
        artifact_size_bytes=archive.artifact.size_bytes if archive else 0,
        lease=lease_of(record.plan),
        dead_man=record.plan.dead_man,
        with_state=is_one_way(session),
    )


def is_one_way(session: RunSession) -> bool:
    """Whether the release changes the agent's data in a way that only the backup can undo."""
    return session.record.release is not None and session.record.release.data_change == "one-way"


def lease_of(plan: Plan) -> timedelta:
    """How long a host's lock holds without a word from its run: delivery, dead-man switch and as much again for the backup."""
    return plan.delivery.timeout + 2 * plan.dead_man


@contextmanager
def locked(
    session: RunSession, work: HostWork, order: Order, *, stage: str, state: Standing | None = None
) -> Iterator[Order]:
    """Hold the host's lock; what a dead run left half-done is put back first. `state` is what the host said of itself just now.

    Raises:
        StepFailed: the host belongs to another run that may still live (cause HostLocked), or cannot be locked.
    """
    with session.step(work.host.name, Step.LOCK, stage=stage) as step:
        state = state or work.change.standing()
        left_behind = run_left_behind(session, state)
        fence = work.change.take_lock(order, take_over=left_behind is not None or session.resumed)
        order = dataclasses.replace(order, fence=fence)
        step.body["fence"] = fence
        if left_behind and state.journal.state in UNFINISHED:
            step.reason = f"run {left_behind} died here in '{state.journal.state}'; put back first"
            work.change.roll_back(order, f"left behind by run {left_behind}", with_state=False)
    try:
        yield order
    finally:
        unlock(session, work, order, stage)


def run_left_behind(session: RunSession, state: Standing) -> str | None:
    """The run that holds the host's lock or an unfinished change, if its controller process is known to be dead."""
    holder = state.lock.run if state.lock else state.journal.run if state.journal.state in UNFINISHED else ""
    if not holder or holder == session.record.id:
        return None
    known = session.history.find_run(holder)
    if known is None:
        return None
    over = known.outcome is not None or lives(known.process) is False
    return holder if over else None


def unlock(session: RunSession, work: HostWork, order: Order, stage: str) -> None:
    """Give the host free, as a step; one that cannot be given free stays locked until its lease ends."""
    try:
        with session.history.step(session.record.id, work.host.name, Step.UNLOCK, stage=stage):
            work.change.release_lock(order)
    except HostError:
        # The lock ends by itself when its lease does; the step's failure is in the history.
        return
