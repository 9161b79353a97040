"""What one run of a program cost: wall time, CPU of all its processes, memory."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.hosts import Fleet, children, process_cpu, tree

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_SECONDS = 0.5
LIMIT_SECONDS = 3600
LEFT_BEHIND_SECONDS = 0.5
"""A shell on a host ends a moment after the connection it belonged to."""


@dataclass(frozen=True)
class Cost:
    """Seconds, and MiB of resident memory of all of a tool's processes together (shared pages count in each)."""

    wall: float
    controller_cpu: float
    host_cpu: float
    peak_mib: float
    server_cpu: float = 0.0

    def plain(self) -> dict[str, float]:
        return {name: round(value, 2) for name, value in asdict(self).items()}


def adopt_orphans() -> None:
    """Processes that a tool leaves behind (ssh's control masters) become ours, so that their CPU is counted."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measured(
    words: Sequence[str | Path], environment: Mapping[str, str], fleet: Fleet, log: Path, server: int = 0
) -> Cost:
    """Run a program against the hosts; `server` is the process id of a server whose CPU is told apart.

    Raises SystemExit when it fails.
    """
    reap()
    host_before, server_before = fleet.cpu_seconds(), process_cpu(server)
    reaped_before = os.times()
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(words, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        memory = Memory(process.pid)
        code = process.wait(LIMIT_SECONDS)
    wall = time.monotonic() - began
    memory.ended.set()
    for pid in children(os.getpid()):
        if command(pid) == "ssh":
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
    fleet.await_quiet()
    reaped = os.times()
    time.sleep(LEFT_BEHIND_SECONDS)
    host_after = fleet.cpu_seconds() + reap()
    server_after = process_cpu(server)
    if code:
        raise SystemExit(f"bench: {words[0]} ended with code {code}:\n{log.read_text('utf-8', 'replace')[-3000:]}")
    cpu = reaped.children_user + reaped.children_system - reaped_before.children_user - reaped_before.children_system
    return Cost(wall, cpu, host_after - host_before, memory.peak_mib, server_after - server_before)


def reap() -> float:
    """Bury what the hosts left behind; CPU seconds it had used."""
    used = 0.0
    for pid in children(os.getpid()):
        if command(pid) in {"sleep", "sh", "setsid", "dd"}:
            with suppress(ChildProcessError):
                buried, _, cost = os.wait4(pid, os.WNOHANG)
                used += cost.ru_utime + cost.ru_stime if buried else 0.0
    return used


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Memory:
    """Watches a process and all below it."""

    def __init__(self, pid: int) -> None:
        self.peak_mib, self.ended = 0.0, threading.Event()
        threading.Thread(target=self._watch, args=(pid,), daemon=True).start()

    def _watch(self, pid: int) -> None:
        page = os.sysconf("SC_PAGE_SIZE") / 1024**2
        while not self.ended.wait(SAMPLE_SECONDS):
            self.peak_mib = max(self.peak_mib, page * sum(map(resident_pages, tree(pid))))


def resident_pages(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
