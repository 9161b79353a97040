"""How commands reach the fleet process: words in over a unix socket, exit code and output back."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from upkeep.errors import ServiceError
from upkeep.lab.systemctl import Answer

Handler = Callable[[list[str]], Awaitable[Answer]]


async def serve(path: Path, handle: Handler) -> asyncio.Server:
    """Answer requests at `path`; the socket is bound from inside its folder, because socket names are short."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.read()
            writer.write(encoded(await handle(request.decode("utf-8", "surrogateescape").split("\0"))))
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, sock=_bound(path))


def _bound(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = Path.cwd()
    os.chdir(path.parent)
    listener.bind(path.name)
    os.chdir(before)
    path.chmod(0o600)
    return listener


def ask(path: Path, words: list[str], timeout_seconds: float = 60) -> Answer:
    """Send one request and wait for its answer.

    Raises:
        ServiceError: nobody answers at `path`.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_seconds)
    folder = os.open(path.parent, os.O_RDONLY) if path.parent.is_dir() else -1
    try:
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
        connection.sendall("\0".join(words).encode("utf-8", "surrogateescape"))
        connection.shutdown(socket.SHUT_WR)
        return decoded(b"".join(iter(lambda: connection.recv(65536), b"")))
    except (OSError, ValueError) as error:
        message = f"the lab in {path.parent} does not answer: {error}"
        raise ServiceError(message) from error
    finally:
        connection.close()
        if folder >= 0:
            os.close(folder)


def encoded(answer: Answer) -> bytes:
    """Exit code and length of the output on the first line, output, error output."""
    output, errors = answer.stdout.encode("utf-8", "surrogateescape"), answer.stderr.encode("utf-8", "surrogateescape")
    return f"{answer.exit_code} {len(output)}\n".encode() + output + errors


def decoded(data: bytes) -> Answer:
    """The answer that `encoded` wrote; raises ValueError."""
    head, _, rest = data.partition(b"\n")
    code, length = (int(word) for word in head.split())
    return Answer(code, rest[:length].decode("utf-8", "replace"), rest[length:].decode("utf-8", "replace"))
