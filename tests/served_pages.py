"""The web application on a port of its own, in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.e2e.lab.served import free_ports
from upkeep.webhook.app import create_app
from upkeep.wiring import Site


@contextmanager
def served_pages(site: Site) -> Iterator[str]:
    """Its address while the `with` lasts; the site is closed at the end."""
    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(create_app(site), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)
    site.checkpoints.close()
    site.history.close()
