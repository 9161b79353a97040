"""What the scripts do on a simulated host: the transaction's phases, with moments in between at which it can be cut."""

from __future__ import annotations

from dataclasses import dataclass, replace

from upkeep.domain.change import JournalState
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import CommandFailed, HostError, HostLocked
from upkeep.rehearsal.host import NEW, OLD, Script, SimHost, SimJournal, SimLock

KEEPS_ITS_BACKUP = {JournalState.ARMED, JournalState.SWITCHED, JournalState.ROLLING_BACK, JournalState.COMMITTED}
"""The new version may have written since: the backup from before the switch is the one that counts."""


@dataclass(frozen=True)
class HostOrder:
    """What a run wants of a host; `fence` is 0 until the host has given one."""

    run: str
    lease: float
    dead_man: float
    fence: int = 0


def inspect(host: SimHost) -> Script:
    """Lock and journal as they are."""
    yield 0
    return replace(host.journal), replace(host.lock) if host.lock else None


def check(host: SimHost) -> Script:
    """Facts, and whether the agent runs."""
    yield 0
    return host.facts.model_copy(
        update={
            "installed_version": host.linked,
            "running_version": host.running or "",
            "service_active": host.running is not None,
        }
    )


def look(host: SimHost, version: str) -> Script:
    """What is wrong with the agent when `version` should be running; empty when it is well."""
    yield 0
    if host.running is None:
        return (_wrong("service.active", "the agent does not run", "read the agent's log"),)
    if host.running != version:
        return (_wrong("agent.running_version", f"runs {host.running}, not {version}", "restart the agent"),)
    if not host.serving:
        return (_wrong("centre.registered", "the agent has not registered", "look at the control centre"),)
    return ()


def take_lock(host: SimHost, order: HostOrder, *, take_over: bool) -> Script:
    """The host becomes the run's own; answers the fence."""
    host.watcher.begins(host, order.run, "take_lock")
    held = host.lock
    if held and not take_over and held.run != order.run and held.until > host.clock:
        raise HostLocked(host.name, f"run {held.run} holds this host", remedy="wait for that run, or stop it")
    if not (held and not take_over and held.run == order.run):
        host.fence += 1
    yield 0.1
    host.lock = SimLock(order.run, host.fence, host.clock + order.lease)
    host.watcher.touched(host)
    return host.fence


def release_lock(host: SimHost, order: HostOrder) -> Script:
    """Give the host free."""
    if host.lock is None:
        return None
    own_lock(host, order)
    yield 0.1
    host.lock = None
    return None


def back_up(host: SimHost, order: HostOrder) -> Script:
    """Copy what is to be changed; the journal begins."""
    host.watcher.begins(host, order.run, "back_up")
    own_lock(host, order)
    if host.journal.run == order.run and host.journal.state in KEEPS_ITS_BACKUP:
        return None
    yield host.random.uniform(2, 20)
    if host.behaviour.disk_full:
        raise CommandFailed(host.name, "no space left on device", exit_code=1, remedy="free space for the backup")
    host.backups.add(order.run)
    host.journal = SimJournal(JournalState.PREPARED, order.run, order.fence, "controller", before=host.linked)
    host.watcher.touched(host)
    return None


def stage(host: SimHost, order: HostOrder) -> Script:
    """Bring the new version beside the old one."""
    host.watcher.begins(host, order.run, "stage")
    own_lock(host, order)
    yield host.random.uniform(2, 30)
    if host.journal.state is JournalState.PREPARED:
        host.journal.state = JournalState.STAGED
    return None


def switch(host: SimHost, order: HostOrder) -> Script:
    """Arm the dead-man switch, put the new version in place, restart."""
    host.watcher.begins(host, order.run, "switch")
    own_lock(host, order)
    if host.journal.run != order.run or host.journal.state not in {
        JournalState.STAGED,
        JournalState.ARMED,
        JournalState.SWITCHED,
    }:
        raise HostError(
            host.name, f"there is nothing to switch: the journal says {host.journal.state}", remedy="retry the run"
        )
    if order.run not in host.backups:
        raise HostError(host.name, "the backup on the host is gone", remedy="back up again")
    if host.journal.state is not JournalState.SWITCHED:
        host.journal.state = JournalState.ARMED
    host.arm(order.dead_man)
    host.watcher.touched(host)
    yield 0.2
    host.journal.state, host.journal.fence = JournalState.SWITCHED, order.fence
    host.watcher.touched(host)
    yield 0.2
    was, host.linked = host.linked, NEW
    host.watcher.touched(host)
    yield 0.2
    if was == OLD or host.running != NEW:
        host.stop()
        yield host.random.uniform(1, 8)
        if not host.start():
            raise CommandFailed(host.name, "the new version does not start", exit_code=1, remedy="read the agent's log")
    return None


def commit(host: SimHost, order: HostOrder) -> Script:
    """Keep the new version and take the dead-man switch away."""
    host.watcher.begins(host, order.run, "commit")
    if host.journal.run != order.run or host.journal.state not in {JournalState.SWITCHED, JournalState.COMMITTED}:
        raise HostError(host.name, f"not switched any more: {host.journal.reason}", remedy="retry the host")
    own_lock(host, order)
    yield 0.2
    host.journal.state, host.journal.actor = JournalState.COMMITTED, "controller"
    host.watcher.touched(host)
    yield 0.2
    host.disarm()
    return None


def roll_back(host: SimHost, order: HostOrder, reason: str) -> Script:
    """Back to the old version, from any state; a host already back is left alone."""
    host.watcher.begins(host, order.run, "roll_back")
    if host.journal.state is JournalState.ROLLED_BACK:
        host.disarm()
        return host.journal
    if host.journal.state is JournalState.NONE:
        raise HostError(host.name, "no change is recorded on this host", remedy="look at it: upkeep status")
    own_lock(host, order)
    host.journal.fence = order.fence
    if host.journal.state in {JournalState.PREPARED, JournalState.STAGED}:
        yield 0.1
        host.journal.state, host.journal.reason = JournalState.ROLLED_BACK, f"{reason} (nothing was switched)"
        return host.journal
    yield from host.put_back("controller", reason)
    return host.journal


def own_lock(host: SimHost, order: HostOrder) -> None:
    """Only the run that holds the lock, with its present fence, may go on.

    Raises:
        HostLocked: somebody else holds the host, or nobody does.
    """
    if host.lock is None or (host.lock.run, host.lock.fence) != (order.run, order.fence):
        holder = f"run {host.lock.run} holds this host now" if host.lock else "no run holds the lock of this host"
        raise HostLocked(host.name, holder, remedy="retry the host when that run is over")


def _wrong(check: str, reason: str, remedy: str) -> Finding:
    return Finding(check=check, verdict=Verdict.FAIL, reason=reason, remedy=remedy)
