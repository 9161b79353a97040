"""Telling whether the controller process of an earlier run still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def this_process() -> str:
    """`machine:boot id:pid:start ticks` of this process: the same text never means another process."""
    return f"{socket.gethostname()}:{_boot_id()}:{os.getpid()}:{_start_ticks(os.getpid())}"


def lives(process: str) -> bool | None:
    """Whether the process written down by `this_process` is still running; None when it was on another machine."""
    machine, _, rest = process.partition(":")
    boot, _, rest = rest.partition(":")
    pid, _, ticks = rest.partition(":")
    if machine != socket.gethostname():
        return None
    return boot == _boot_id() and pid.isdigit() and ticks != "" and _start_ticks(int(pid)) == ticks


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "unknown"


def _start_ticks(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rsplit(")", 1)[1].split()
    return "" if fields[0] == "Z" else fields[19]
