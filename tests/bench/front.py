"""Answers /health and /version for every agent: which host is asked is the address that was connected to."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

HOSTS, PORT = Path(sys.argv[1]), int(sys.argv[2])


def runs(root: Path) -> bool:
    try:
        pid = (root / "run/pid").read_text().strip()
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        asked = await reader.readuntil(b"\r\n\r\n")
        root = HOSTS / writer.get_extra_info("sockname")[0]
        if not runs(root):
            status, body = "503 Service Unavailable", '{"status": "DOWN"}'
        elif asked.startswith(b"GET /version"):
            status, body = "200 OK", f'{{"version": "{(root / "run/version").read_text().strip()}"}}'
        else:
            status, body = "200 OK", '{"status": "UP"}'
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
    writer.close()


async def serve() -> None:
    server = await asyncio.start_server(answer, "0.0.0.0", PORT, backlog=2048)  # noqa: S104 - all of 127.0.0.0/8
    async with server:
        await server.serve_forever()


asyncio.run(serve())
