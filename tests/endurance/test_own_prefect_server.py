"""Issue 7: the Prefect server of a run without one: two runs meet a new database, and one of them is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

STARTER = """
import sys, time
from pathlib import Path
from upkeep.project import prefect_settings
prefect_settings(quiet=True)
from upkeep.services.prefect_server import OwnServer
server = OwnServer(Path(sys.argv[1]))
server.go()
server.wait(300)
print(server._process.pid, server.url, flush=True)
sys.stdin.read()
"""


def _starter(folder: Path) -> subprocess.Popen[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder / "log")],
        env={**environ, "PREFECT_HOME": str(folder / "prefect")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _serves(starter: subprocess.Popen[str]) -> tuple[Path, str]:
    assert starter.stdout is not None
    pid, url = starter.stdout.readline().split()
    return Path("/proc", pid), url


def _gone(process: Path, url: str) -> bool:
    until = time.monotonic() + 20
    while process.exists() and time.monotonic() < until:
        time.sleep(0.05)
    with socket.socket() as probe:
        return not process.exists() and probe.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) != 0


def test_two_runs_share_a_new_database_and_the_killed_one_takes_only_its_own_server_along(tmp_path: Path) -> None:
    with _starter(tmp_path) as killed, _starter(tmp_path) as other:
        server, url = _serves(killed)
        other_server, other_url = _serves(other)
        assert httpx.post(f"{url}/flows/", json={"name": "seen by both"}).status_code == httpx.codes.CREATED
        killed.send_signal(signal.SIGKILL)
        assert _gone(server, url)
        assert httpx.get(f"{other_url}/flows/name/seen by both").status_code == httpx.codes.OK
        assert other.stdin is not None
        other.stdin.close()
        assert _gone(other_server, other_url)
        assert other.wait(20) == 0
