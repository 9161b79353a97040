"""Listens on loopback addresses of this computer and connects inside the control namespace: every cut and every hang shows through.

Run as a program: `forward CONTROL DESCRIPTOR=ADDRESS:PORT …`, the descriptors being sockets that listen already.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Sequence

from upkeep.lab.machines.layout import namespace_path
from upkeep.lab.machines.network import enter

PIECE_BYTES = 65536
BACKLOG = 128


def main(words: Sequence[str]) -> None:
    """Forward until killed."""
    control, *links = words
    ends = [(socket.socket(fileno=int(link.partition("=")[0])), _end(link.partition("=")[2])) for link in links]
    enter(namespace_path(control))  # the listeners stay where they were made
    asyncio.run(_serve(ends))


def listen(address: str, port: int) -> socket.socket:
    """A listening socket that a program started from here inherits."""
    listener = socket.create_server((address, port), backlog=BACKLOG)
    listener.setblocking(False)  # noqa: FBT003 - positional only
    listener.set_inheritable(True)
    return listener


async def _serve(ends: list[tuple[socket.socket, tuple[str, int]]]) -> None:
    servers = []
    for listener, target in ends:

        async def accept(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: tuple[str, int] = target
        ) -> None:
            await _forward(reader, writer, to)

        servers.append(await asyncio.start_server(accept, sock=listener))
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: tuple[str, int]) -> None:
    try:
        there, back = await asyncio.open_connection(*to)
    except OSError:
        writer.transport.abort()
        return
    await asyncio.gather(_pump(reader, back), _pump(there, writer))
    for end in (writer, back):
        end.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(PIECE_BYTES):
            target.write(piece)
            await target.drain()
    with contextlib.suppress(OSError, RuntimeError):  # the other side may have gone first
        target.write_eof()


def _end(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


if __name__ == "__main__":
    main(sys.argv[1:])
