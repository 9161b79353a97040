"""One real Prefect server for all tests of a run, as a site has one; starting one costs about fifteen seconds of CPU time."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from upkeep.project import PREFECT_ENVIRONMENT

START_SECONDS = 300


@contextmanager
def shared_server(folder: Path) -> Iterator[dict[str, str]]:
    """The server of this folder, started by the first who asks and stopped by the last who leaves; yields the settings that lead to it."""
    folder.mkdir(parents=True, exist_ok=True)
    with _state(folder) as state:
        if not state.get("users"):
            state.update(users=0, **_start(folder))
        state["users"] += 1
        settings = {**PREFECT_ENVIRONMENT, "PREFECT_API_URL": f"http://127.0.0.1:{state['port']}/api"}
    try:
        yield settings
    finally:
        with _state(folder) as state:
            state["users"] -= 1
            if not state["users"]:
                os.kill(state["pid"], signal.SIGTERM)


@contextmanager
def _state(folder: Path) -> Iterator[dict[str, Any]]:
    """What all test processes know of the server; the others wait meanwhile."""
    with (folder / "state.json").open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        state = json.loads(file.read() or "{}")
        try:
            yield state
        finally:
            file.truncate(0)
            json.dump(state, file)
            file.flush()


def _start(folder: Path) -> dict[str, int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    words = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, **PREFECT_ENVIRONMENT, "PREFECT_HOME": str(folder)}
    log_file = folder / "server.log"
    with log_file.open("wb") as log:
        server = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    deadline = time.monotonic() + START_SECONDS
    while not _healthy(port):
        assert server.poll() is None, log_file.read_text()
        assert time.monotonic() < deadline, f"the Prefect server does not answer: {log_file.read_text()}"
        time.sleep(0.05)
    return {"pid": server.pid, "port": port}


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=5).is_success
    except httpx.TransportError:
        return False
