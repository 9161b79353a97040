"""Links as they are: far away, dripping, silent, not there at all; each a door on loopback before a benchmark's sshd."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from tests.bench.hosts import BenchHost, Fleet

ROUND_TRIP_SECONDS = 0.3
KINDS = ("far", "trickling", "silent", "unreachable")
Pipe = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Doors:
    """Doors before hosts of a fleet; a door's port is where its host is reached from now on."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._kept: list[socket.socket] = []

    def open(self, host: BenchHost, kind: str) -> int:
        """A door of a kind; its port."""
        if kind == "unreachable":
            return self._deaf(host)
        server = asyncio.run_coroutine_threadsafe(self._serve(host, kind), self._loop).result()
        return int(server.sockets[0].getsockname()[1])

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for sock in self._kept:
            sock.close()

    def _deaf(self, host: BenchHost) -> int:
        """A queue that is full and never emptied: the kernel drops every further attempt, as a dead host's network does."""
        listening = socket.socket()
        listening.bind((host.address, 0))
        listening.listen(0)
        self._kept.append(listening)
        for _ in range(3):
            filling = socket.socket()
            filling.setblocking(False)
            with suppress(BlockingIOError):
                filling.connect(listening.getsockname())
            self._kept.append(filling)
        return int(listening.getsockname()[1])

    async def _serve(self, host: BenchHost, kind: str) -> asyncio.Server:
        back: Pipe = {"far": _late, "trickling": _drop_by_drop, "silent": _late}[kind]
        there: Pipe = _late if kind == "far" else _at_once

        async def pass_on(near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
            if kind == "silent":
                await near_in.read()
                return
            far_in, far_out = await asyncio.open_connection(host.address, self._fleet.port)
            with suppress(OSError):
                await asyncio.gather(there(near_in, far_out), back(far_in, near_out))

        return await asyncio.start_server(pass_on, host.address, 0)


async def _at_once(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(65_536):
        target.write(piece)
        await target.drain()
    target.close()


async def _drop_by_drop(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(1):
        target.write(piece)
        await target.drain()
        await asyncio.sleep(1)
    target.close()


async def _late(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Every piece half a round trip later, pieces on their way at the same time as on a real link."""
    loop = asyncio.get_running_loop()
    on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def take() -> None:
        while piece := await source.read(65_536):
            on_its_way.put_nowait((loop.time() + ROUND_TRIP_SECONDS / 2, piece))
        on_its_way.put_nowait((loop.time() + ROUND_TRIP_SECONDS / 2, b""))

    taking = asyncio.ensure_future(take())
    while True:
        due, piece = await on_its_way.get()
        await asyncio.sleep(max(0.0, due - loop.time()))
        if not piece:
            break
        target.write(piece)
        await target.drain()
    await taking
    target.close()


@contextmanager
def doors(fleet: Fleet) -> Iterator[Doors]:
    opened = Doors(fleet)
    try:
        yield opened
    finally:
        opened.close()
