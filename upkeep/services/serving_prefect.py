"""The process behind `OwnServer`: `python -m upkeep.services.serving_prefect PAIR LISTENER`, both inherited descriptors.

It loads the server, waits to be told to go, opens the database, says that it is ready, and ends when the process that started it does.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from upkeep.garbage import collect_seldom, keep_for_good
from upkeep.services.prefect_server import END_SECONDS, GO, READY


class Lifeline:
    """The pair with the process that started this one: its GO, and its end."""

    def __init__(self, pair: socket.socket) -> None:
        self._pair = pair
        self._told = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def wait_for_go(self) -> None:
        """Until the database may be opened."""
        self._told.wait()

    def ready(self) -> None:
        """Say that requests are answered."""
        self._pair.send(READY)

    def _listen(self) -> None:
        while self._heard() == GO:
            self._told.set()
        if not self._told.is_set():
            os._exit(0)
        os.kill(os.getpid(), signal.SIGTERM)
        self._told.clear()
        self._told.wait(END_SECONDS)
        os._exit(1)

    def _heard(self) -> bytes:
        try:
            return self._pair.recv(1)
        except OSError:
            return b""


def main() -> None:
    """Serve until the starter ends."""
    pair, listener = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    collect_seldom()
    lifeline = Lifeline(pair)
    import uvicorn  # noqa: PLC0415 - the lifeline first: whoever started this may end meanwhile
    from prefect.server.api.server import create_app  # noqa: PLC0415
    from prefect.settings import get_current_settings  # noqa: PLC0415

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            with _one_at_a_time(get_current_settings().home):
                await super().startup(sockets=sockets)
            keep_for_good()
            lifeline.ready()

    app = create_app()
    lifeline.wait_for_go()
    Server(uvicorn.Config(app, log_level="error", lifespan="on")).run(sockets=[listener])


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Two that migrate one new database at once would break each other; where nothing can be written, neither can."""
    with ExitStack() as opened:
        with suppress(OSError):
            home.mkdir(parents=True, exist_ok=True)
            file = opened.enter_context((home / ".upkeep-start.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main()
