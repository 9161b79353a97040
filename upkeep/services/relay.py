"""The relay: hosts pull archives from this controller over HTTP, each with an address of its own that works once.

What a host gets is checked against the signed SHA-256 on the host, so the relay needs no TLS; the address is the only secret.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from upkeep.domain.bandwidth import Throttle
from upkeep.errors import ArtifactError

_RANGE = re.compile(r"bytes=(\d{1,18})-")
_TOKEN_BYTES = 32
_SILENT_SECONDS = 30
_MOST_CONNECTIONS = 1024
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class _Grant:
    """One host may fetch one file once, until `until` (monotonic seconds)."""

    host: str
    path: Path
    sha256: str
    until: float
    throttle: Throttle


class Relay:
    """A small HTTP server for the time of a run; safe to use from many threads.

    Raises:
        ArtifactError: it cannot listen on the address.
    """

    def __init__(self, address: str, port: int = 0) -> None:
        self._grants: dict[str, _Grant] = {}
        self._spent: set[str] = set()
        self._lock = threading.Lock()
        try:
            self._server = _Server(address, port, self._take)
        except OSError as error:
            raise ArtifactError(
                f"the relay cannot listen on {_joined(address, port)}: {error.strerror or error}; "
                "do: name an address of this machine and a free port in delivery.relay or UPKEEP_RELAY"
            ) from error
        self.address = _joined(address, self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_SECONDS,), name="upkeep-relay", daemon=True
        )
        self._thread.start()

    def grant(
        self, host: str, path: Path, sha256: str, *, good_for: timedelta, throttle: Throttle | None = None
    ) -> SecretStr:
        """An address from which `host` may fetch the file once; those it was given before are void."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        grant = _Grant(host, path, sha256, time.monotonic() + good_for.total_seconds(), throttle or Throttle())
        with self._lock:
            for name in [name for name, old in self._grants.items() if old.host == host]:
                self._spend(name)
            self._grants[_name(token)] = grant
        return SecretStr(f"http://{self.address}/{token}")

    def close(self) -> None:
        """Listen no more; every address is void."""
        with self._lock:
            self._grants.clear()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, token: str) -> _Grant | HTTPStatus:
        """The grant behind a token, which is spent by asking."""
        name = _name(token)
        with self._lock:
            grant = self._grants.get(name)
            if grant is None:
                return HTTPStatus.GONE if name in self._spent else HTTPStatus.NOT_FOUND
            self._spend(name)
        return grant if time.monotonic() < grant.until else HTTPStatus.GONE

    def _spend(self, name: str) -> None:
        del self._grants[name]
        self._spent.add(name)


def _name(token: str) -> str:
    """Tokens are kept and looked up by their hash: how long that takes tells nothing about them."""
    return hashlib.sha256(token.encode()).hexdigest()


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class _Server(ThreadingHTTPServer):
    """Bounded in connections; says nothing on standard error."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: str, port: int, take: Callable[[str], _Grant | HTTPStatus]) -> None:
        self.take = take
        self.ended = threading.Event()
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _Handler)

    def server_bind(self) -> None:
        """Without the name look-up of http.server, which takes seconds where DNS does not answer."""
        TCPServer.server_bind(self)

    def server_close(self) -> None:
        """Break off what is still being sent slowly."""
        self.ended.set()
        super().server_close()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's own types
        """One more connection, or none when too many are open."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's own types
        """Serve one connection and count it out."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A host that hangs up is the host's own story; its download says so."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "upkeep", ""
    timeout = _SILENT_SECONDS

    def do_GET(self) -> None:
        """The file from the byte asked for on, if the address is good."""
        grant = self.server.take(self.path.removeprefix("/"))
        if isinstance(grant, HTTPStatus):
            self._refuse(grant)
            return
        with grant.path.open("rb") as file:
            size = grant.path.stat().st_size
            start = self._start(size)
            if start is None:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"bytes */{size}")
                return
            self._head(grant, start, size)
            if grant.throttle.binds:
                self._send_slowly(file, start, grant.throttle)
            elif start < size:
                self.connection.sendfile(file, start, size - start)

    def log_message(self, *_: object) -> None:
        """Say nothing: the address is a secret."""

    def _start(self, size: int) -> int | None:
        """The first byte asked for; None for what cannot be had."""
        asked = self.headers["Range"]
        if not asked:
            return 0
        match = _RANGE.fullmatch(asked.strip())
        return int(match[1]) if match and int(match[1]) < size else None

    def _head(self, grant: _Grant, start: int, size: int) -> None:
        self.close_connection = True
        self.send_response(HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        for name, value in (
            ("Content-Type", "application/octet-stream"),
            ("Content-Length", str(size - start)),
            ("Accept-Ranges", "bytes"),
            ("ETag", f'"{grant.sha256}"'),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()

    def _send_slowly(self, file: Any, start: int, throttle: Throttle) -> None:  # noqa: ANN401 - a file open for reading
        file.seek(start)
        while piece := file.read(throttle.piece_bytes):
            if self.server.ended.wait(throttle.reserve(len(piece), time.monotonic())):
                return
            self.connection.sendall(piece)

    def _refuse(self, status: HTTPStatus, content_range: str = "") -> None:
        self.close_connection = True
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
