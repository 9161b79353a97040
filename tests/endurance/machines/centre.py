"""A control centre in the machines' control namespace, with what can be wrong at its end: port, chain, answers, patience, clock; and a proxy."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from upkeep.lab.machines import network

NAME, PORT, PROXY_PORT = "centre.example", 8443, 3128
ONLINE_SECONDS, PATIENCE_SECONDS = 6, 600
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_SHOWN_BY_NEW_CONNECTIONS = ("chain", "port", "demands_certificates", "proxy")
_REASONS = {200: "OK", 401: "expired token", 404: "Not Found", 407: "Proxy Authentication Required", 426: "protocol version 3 is not supported", 503: "Service Unavailable"}  # fmt: skip


@dataclass
class Fault:
    """What is wrong at the centre's end; the default is nothing."""

    chain: str = "good"
    port: str = "open"
    heartbeats: int = 200
    everything: int = 200
    counts_heartbeats: bool = True
    ends_sessions: float = 0
    """Seconds after which an idle session is reset; 0: never."""
    demands_certificates: bool = False
    proxy: int = 200
    clock: timedelta = timedelta(0)


@dataclass
class Centre:
    """Answers until closed; `fault` may be changed at any time."""

    namespace: str
    address: str
    folder: Path
    """Holds the chains by name, each with its key, and root.pem."""
    fault: Fault = field(default_factory=Fault)
    seen: dict[str, float] = field(default_factory=dict)
    """When each agent was heard of last."""
    _listeners: dict[int, socket.socket] = field(default_factory=dict)
    _visits: set[socket.socket] = field(default_factory=set)

    def open(self) -> None:
        self._listen(PORT)
        self._listen(PROXY_PORT)

    def set(self, fault: Fault) -> None:
        """Be wrong in this way from now on; connections that stand end where only new ones would show it."""
        before, self.fault = self.fault, fault
        if (before.port, fault.port) == ("open", "closed"):
            self._shut(PORT)
        if (before.port, fault.port) == ("closed", "open"):
            self._listen(PORT)
        if any(getattr(fault, name) != getattr(before, name) for name in _SHOWN_BY_NEW_CONNECTIONS):
            for visit in list(self._visits):
                _end(visit)

    def close(self) -> None:
        for port in list(self._listeners):
            self._shut(port)

    def _listen(self, port: int) -> None:
        listener = network.inside(self.namespace, lambda: socket.create_server((self.address, port), backlog=64))
        self._listeners[port] = listener
        threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()

    def _shut(self, port: int) -> None:
        listener = self._listeners.pop(port)
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    def _accept(self, listener: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = listener.accept()
                serve = self._serve if port == PORT else self._relay
                threading.Thread(target=self._visit, args=(serve, visitor), daemon=True).start()

    def _visit(self, serve, visitor: socket.socket) -> None:
        self._visits.add(visitor)
        try:
            with contextlib.suppress(OSError, ValueError):
                serve(visitor)
        finally:
            self._visits -= {visit for visit in list(self._visits) if visit.fileno() < 0} | {visitor}
            visitor.close()

    def _serve(self, visitor: socket.socket) -> None:
        visitor.settimeout(PATIENCE_SECONDS)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / f"{self.fault.chain}.pem")
        if self.fault.demands_certificates:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(self.folder / "root.pem")
        with context.wrap_socket(visitor, server_side=True, do_handshake_on_connect=False) as secured:
            self._visits.add(secured)
            secured.do_handshake()
            try:
                while head := _head(secured):
                    status, body = self._answer(*head.split(" ", 2)[:2])
                    secured.sendall(self._message(status, body))
                    secured.settimeout(self.fault.ends_sessions or PATIENCE_SECONDS)
            except TimeoutError:
                _reset(secured)

    def _message(self, status: int, body: str) -> bytes:
        date = format_datetime(datetime.now(UTC) + self.fault.clock, usegmt=True)
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nDate: {date}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def _answer(self, method: str, path: str) -> tuple[int, str]:
        if self.fault.everything != 200:
            return self.fault.everything, ""
        found = re.fullmatch(r"/v1/nodes/([a-z0-9]+)(/heartbeat)?", path)
        if found and method == "POST":
            if self.fault.heartbeats == 200 and self.fault.counts_heartbeats:
                self.seen[found[1]] = time.time()
            return self.fault.heartbeats, ""
        if found:
            return self._node(found[1])
        if path == "/v1/policies/current":
            return 200, '{"version": "1"}'
        return (200, "{}") if path == "/health" else (404, "")

    def _node(self, name: str) -> tuple[int, str]:
        if name not in self.seen:
            return 404, ""
        at = datetime.fromtimestamp(self.seen[name], UTC).isoformat()
        online = str(self.online(name)).lower()
        return 200, f'{{"id": "{name}", "online": {online}, "version": "1.0.0", "policy_version": "1", "last_seen": "{at}", "registered_at": "{at}"}}'  # fmt: skip

    def online(self, name: str) -> bool:
        return time.time() - self.seen.get(name, 0) < ONLINE_SECONDS

    def _relay(self, visitor: socket.socket) -> None:
        visitor.settimeout(PATIENCE_SECONDS)
        if not _head(visitor):
            return
        visitor.sendall(
            f"HTTP/1.1 {self.fault.proxy} {_REASONS[self.fault.proxy]}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        if self.fault.proxy != 200:
            return
        with network.connect(self.namespace, self.address, PORT, 5) as there:
            there.settimeout(PATIENCE_SECONDS)
            threading.Thread(target=_pump, args=(visitor, there), daemon=True).start()
            _pump(there, visitor)


def _head(connection: socket.socket) -> str:
    """A request's first line, once its head is whole; empty at the end."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(4096)
        if not piece:
            return ""
        text += piece
    return text.split(b"\r\n", 1)[0].decode("latin-1")


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    _end(target)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.close()
