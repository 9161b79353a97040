"""Finding and ending the processes of one lab, by the mark they carry in their environment."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

SWEEPS = 20
LONGEST_WAIT_MS = 5000


def marked(lab_id: str) -> list[int]:
    """Ids of the living processes that carry the lab's mark, except this one."""
    mark = f"UPKEEP_LAB={lab_id}".encode()
    return [pid for pid in _all() if pid != os.getpid() and _carries(pid, mark)]


def end_marked(lab_id: str) -> int:
    """Kill every process of the lab and wait until they are gone; how many there were."""
    ended = 0
    mark = f"UPKEEP_LAB={lab_id}".encode()
    for _ in range(SWEEPS):
        found = marked(lab_id)
        if not found:
            break
        ended += sum(_end(pid, mark) for pid in found)
    return ended


def _all() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _carries(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def await_end(pid: int, timeout_ms: int = LONGEST_WAIT_MS) -> bool:
    """Wait for the end of a process that need not be a child; whether it has ended."""
    with contextlib.suppress(ProcessLookupError), _process(pid) as descriptor:
        return _ended(descriptor, timeout_ms)
    return True


def _end(pid: int, mark: bytes) -> int:
    """Kill one process; the mark is looked at again once the id cannot pass to another process."""
    with contextlib.suppress(ProcessLookupError), _process(pid) as descriptor:
        if _carries(pid, mark):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return int(_ended(descriptor, LONGEST_WAIT_MS))
    return 0


@contextlib.contextmanager
def _process(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ended(descriptor: int, timeout_ms: int) -> bool:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(timeout_ms))
