"""Running the desk, in this process or as one of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from upkeep.domain.ticket_source import Kind
from upkeep.errors import ServiceError
from upkeep.lab.tickets.desk import PREFIXES, Temper, desk_app
from upkeep.lab.tickets.sending import Sender, Target
from upkeep.lab.tickets.store import Store

_UP_WITHIN_SECONDS = 30


class Desk:
    """A desk in this process: its tickets, its temper, its address."""

    def __init__(self, folder: Path, kind: Kind, *, password: str, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.kind, self.user, self.password = kind, "upkeep", password
        self.store, self.temper = Store(folder / "tickets.json", PREFIXES[kind]), Temper()
        self._app: FastAPI = desk_app(self.store, kind, self.user, password, self.temper)
        self._port, self.url = port, ""
        self._sender: Sender | None = None

    def send_to(self, target: Target, said: Callable[[str], object] = lambda _: None) -> None:
        """Tell this address of every change from here on."""
        self._sender = Sender(target, self.kind, said)
        self.store.changed.append(self._sender.heard)

    @contextmanager
    def open(self) -> Iterator[Desk]:
        """Serve while a `with` lasts."""
        config = uvicorn.Config(self._app, host="127.0.0.1", port=self._port, log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, name="desk", daemon=True)
        thread.start()
        deadline = time.monotonic() + _UP_WITHIN_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise ServiceError(f"the desk does not start on port {self._port}; is it taken?")
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            if self._sender:
                self._sender.close()
            server.should_exit = True
            thread.join()
