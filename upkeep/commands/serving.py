"""`upkeep up`: a Prefect server and every runbook served on it, on loopback, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import FrameType

import httpx

from upkeep.console.screen import screen
from upkeep.errors import ServiceError
from upkeep.project import prefect_settings, project_folder
from upkeep.wiring import site

PORT = 4200
STARTED_WITHIN_SECONDS = 300


def up(port: int = PORT) -> int:
    """Start both, print where they are, stop both on Ctrl-C or SIGTERM; 1 when one of them ends by itself."""
    prefect_settings(quiet=False)
    _ = site().checkpoints  # one an hour from here on, also while nothing runs
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "PREFECT_API_URL": f"{address}/api"}
    words = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(words, env=environment)
    serve = None
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _wait_for(server, address)
        serve = subprocess.Popen([sys.executable, "-m", "deployments.serve"], env=environment, cwd=project_folder())
        screen().print(f"Prefect UI: {address}   every runbook is a deployment there; Ctrl-C stops")
        while server.poll() is None and serve.poll() is None:
            time.sleep(0.5)
    except KeyboardInterrupt:
        return 0
    finally:
        for process in (serve, server):
            _end(process)
    return 1


def _wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ServiceError(
                f"the Prefect server ended with code {server.returncode}; is {address} taken? Its log is above"
            )
        try:
            if httpx.get(f"{address}/api/health", timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    raise ServiceError(f"the Prefect server did not answer at {address} within {STARTED_WITHIN_SECONDS} s")


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
