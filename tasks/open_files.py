"""Room for a run's connections and files: the process's limit is raised as far as it may be, or the run is refused at its start."""

from __future__ import annotations

import resource
from collections.abc import Iterable

from tasks.connections import MOST_KEPT
from upkeep.errors import Refused
from upkeep.hosts.ssh_target import SshTarget

_FOR_ITSELF = 128
"""Prefect, the history, the relay's listener, logs, modules."""
_EACH_IN_WORK = 4
"""A host in work: a backup's file, an archive's file, a connection to its control centre, one at the relay."""
_IN_WORK = 64


def files_needed(targets: Iterable[SshTarget], *, at_once: int) -> int:
    """How many files this process will have open at the most: a connection needs one for itself; its jump hosts are counted too."""
    hops = sorted((1 + len(target.jump) for target in targets), reverse=True)
    kept = max(MOST_KEPT, at_once)
    return sum(hops[:kept]) + min(len(hops), max(_IN_WORK, at_once)) * _EACH_IN_WORK + _FOR_ITSELF


def make_room(needed: int) -> None:
    """Raise this process's own limit where it is too low.

    Raises:
        Refused: the system allows it no more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Refused(
            f"this process may have {hard} files open at once, and this run needs up to {needed}",
            remedy=f"ulimit -n {needed} before it is started (LimitNOFILE={needed} in the worker's systemd unit), or lower at_once",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
