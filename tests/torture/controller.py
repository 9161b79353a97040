"""A controller as a process of its own, so that it can be killed: does one step on one host, given on standard input."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

from tests.torture import agent
from tests.torture.host import Host
from upkeep.hosts.host_change import HostChange, Order
from upkeep.hosts.ssh import SshTransport

_ROOT = Path(__file__).parents[2]


def start(host: Host, order: Order, step: str) -> subprocess.Popen[bytes]:
    """Begin a step; the process ends with 0 when it is done."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=_ROOT
    )
    assert process.stdin is not None
    pickle.dump((host.target, order, step), process.stdin)
    process.stdin.close()
    return process


def main() -> None:
    """Do what standard input says."""
    target, order, step = pickle.load(sys.stdin.buffer)  # noqa: S301 - from this module's own start
    getattr(HostChange(SshTransport(target), agent.PROFILE, become=True), step)(order)


if __name__ == "__main__":
    main()
