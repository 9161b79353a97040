"""A host's front door on the network: open, closed, or frozen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from enum import StrEnum

CHUNK_BYTES = 256 * 1024
log = logging.getLogger(__name__)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Network(StrEnum):
    """How the network treats a host."""

    OPEN = "open"
    CLOSED = "closed"
    FROZEN = "frozen"


class Door:
    """Listens at a host's address and hands every connection's bytes on to `welcome`, as long as the network lets it."""

    def __init__(self, address: str, port: int, welcome: Callable[[socket.socket], Awaitable[None]]) -> None:
        self.address, self.port, self._welcome = address, port, welcome
        self.network = Network.CLOSED
        self._flowing = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._visits: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def set(self, network: Network) -> None:
        """Change how the network treats the host; closing cuts the connections there are.

        Raises:
            OSError: the address is taken.
        """
        self.network = network
        if network is Network.CLOSED:
            self._flowing.clear()
            await self._shut()
            return
        if self._server is None:
            self._server = await asyncio.start_server(self._visit, self.address, self.port, limit=CHUNK_BYTES)
        if network is Network.OPEN:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        visits = dict(self._visits)
        for visit, writer in visits.items():
            connection = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            visit.cancel()
        if visits:
            await asyncio.wait(visits)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._server is None:
            writer.close()
            return
        self._visits[task] = writer
        log.info("%s port %d: a connection, the network is %s", self.address, self.port, self.network.value)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._flowing.wait()
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            del self._visits[task]
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside, outside = socket.socketpair()
        inner_reader, inner_writer = await asyncio.open_connection(sock=outside, limit=CHUNK_BYTES)
        host = asyncio.ensure_future(self._welcome(inside))
        pumps = {
            asyncio.create_task(self._pump(reader, inner_writer)),
            asyncio.create_task(self._pump(inner_reader, writer)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            inner_writer.close()
            await asyncio.gather(*pumps, host, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
