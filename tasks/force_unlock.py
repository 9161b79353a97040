"""Taking a host's lock away from a run that will not come back for it: only by hand, only with a reason, and written down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tasks.resume_run import is_conducted
from upkeep.audit.history import History
from upkeep.domain.record import Actor
from upkeep.errors import BadInput, HostError
from upkeep.hosts.host_change import HostChange, Order
from upkeep.hosts.host_state import Lock

ASKED, DONE, FAILED = "host.unlock_asked", "host.unlocked", "host.unlock_failed"
_LEASE = timedelta(minutes=1)


def refuse_without_reason(reason: str) -> None:
    """A forced unlock is explained before any host is asked.

    Raises:
        BadInput: it is not.
    """
    if not reason.strip():
        raise BadInput("a forced unlock needs a reason", remedy="give --reason TEXT, which is kept in the history")


def force_unlock(history: History, change: HostChange, host: str, actor: Actor, reason: str, *, by: str) -> str:
    """Free one host; what was done, in a sentence. The old holder can no longer write there, and an armed dead-man switch stays armed.

    `by` is an id for this unlocking, as a run's id. What was found and what came of it are events, the first one before the lock is taken.

    Raises:
        BadInput: no reason was given.
        HostError: the host could not be asked, or did not give the lock up.
    """
    refuse_without_reason(reason)
    lock = change.inspect().lock
    if lock is None:
        return "no run holds its lock"
    if (why := _lives(history, lock)) is not None:
        return why
    body = {"run": lock.run, "owner": lock.owner, "since": lock.since, "until": lock.until, "fence": lock.fence}

    def note(action: str, said: str) -> None:
        history.record("", action, host=host, reason=said, body=body, actor=actor)

    note(ASKED, reason)
    _take_and_release(change, host, actor, reason, by, note)
    note(DONE, reason)
    return f"freed; run {lock.run} of {lock.owner} can no longer write there"


def _lives(history: History, lock: Lock) -> str | None:
    """Why the lock stays where it is: its run is one of this history's, and somebody works on it."""
    known = history.find_run(lock.run)
    if known is None or known.outcome is not None or not is_conducted(known):
        return None
    return f"left alone: run {lock.run} is being conducted; upkeep stop {lock.run}"


def _take_and_release(  # noqa: PLR0917 - the whole of one unlocking
    change: HostChange, host: str, actor: Actor, reason: str, by: str, note: Callable[[str, str], None]
) -> None:
    order = Order(by, actor.name, reason, 0, "", "", "", 0, lease=_LEASE, dead_man=_LEASE)
    try:
        fence = change.take_lock(order, take_over=True)
        change.release_lock(Order(by, actor.name, reason, fence, "", "", "", 0, lease=_LEASE, dead_man=_LEASE))
    except HostError as error:
        note(FAILED, f"{reason}; {host} did not give it up: {error}")
        raise
