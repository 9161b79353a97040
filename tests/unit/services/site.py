"""Real HTTP servers on loopback that behave as badly as a test wants."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Request(BaseHTTPRequestHandler):
    """One request, handed to the site's answer for its path."""

    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.server.asked.append((self.path, dict(self.headers)))
        answer = self.server.answers.get(path)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            if answer is None:
                self.reply(404, b"not here")
            else:
                answer(self)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.head(status, Content_Length=str(len(body)), **headers)
        self.wfile.write(body)

    def head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Site(ThreadingHTTPServer):
    """A server with an answer per path; `asked` records path and headers, `closing` ends answers that never end."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.answers: dict[str, Callable[[Request], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.closing = threading.Event()
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are what the tests are about."""

    def serve(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        self.answers[path] = lambda request: request.reply(status, body, **headers)

    def redirect(self, path: str, to: str) -> None:
        self.serve(path, b"", 302, Location=to)

    def drip(self, path: str, *, stated_length: int, piece: bytes = b"x", every: float = 0.02) -> None:
        """A body that comes `piece` by `piece` for as long as anyone listens."""

        def answer(request: Request) -> None:
            request.head(200, Content_Length=str(stated_length))
            while not self.closing.wait(every):
                request.wfile.write(piece)
                request.wfile.flush()

        self.answers[path] = answer

    def drip_head(self, path: str) -> None:
        """A head that never ends."""

        def answer(request: Request) -> None:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not self.closing.wait(0.02):
                request.wfile.write(b"y")
                request.wfile.flush()

        self.answers[path] = answer

    def serve_resumable(self, path: str, content: bytes, etag: str, *, cut_after: int | None = None) -> None:
        """A file with Range and If-Range as RFC 9110 has them; `cut_after` bytes the connection is dropped."""

        def answer(request: Request) -> None:
            ranges, condition = request.headers.get("Range", ""), request.headers.get("If-Range", etag)
            start = int(ranges.removeprefix("bytes=").removesuffix("-")) if ranges and condition == etag else 0
            part = content[start:]
            headers = {"ETag": etag, "Content_Length": str(len(part))}
            if start:
                headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            request.head(206 if start else 200, **headers)
            request.wfile.write(part if cut_after is None else part[:cut_after])
            request.close_connection = True

        self.answers[path] = answer


@contextmanager
def running(certificate: Path | None = None) -> Iterator[Site]:
    site = Site(certificate)
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.closing.set()
        site.shutdown()
        site.server_close()
        thread.join()
