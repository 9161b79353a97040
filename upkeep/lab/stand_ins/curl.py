"""`curl` for a lab host on a machine that has none: the options that maintenance uses, with curl's exit codes."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO
from urllib.parse import SplitResult, urljoin, urlsplit

USAGE, RESOLVE, CONNECT, PARTIAL, HTTP_ERROR, WRITE, TIMEOUT = 2, 6, 7, 18, 22, 23, 28
RANGE, TLS, REDIRECTS, EMPTY, RECEIVE, CERTIFICATE = 33, 35, 47, 52, 56, 60
MOST_REDIRECTS, CHUNK_BYTES = 50, 64 * 1024
OK, PARTIAL_CONTENT, FIRST_ERROR = 200, 206, 400
REDIRECTING = {301, 302, 303, 307, 308}
UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

FLAGS = {
    "-s": "silent", "--silent": "silent", "-S": "show_error", "--show-error": "show_error", "-f": "fail", "--fail": "fail",
    "-L": "follow", "--location": "follow", "-k": "insecure", "--insecure": "insecure", "-q": "", "--no-progress-meter": "silent",
}  # fmt: skip
VALUES = {
    "-o": "output", "--output": "output", "-w": "write_out", "--write-out": "write_out", "-m": "max_time",
    "--max-time": "max_time", "--connect-timeout": "connect_timeout", "--cacert": "cacert", "-x": "proxy",
    "--proxy": "proxy", "-C": "resume", "--continue-at": "resume", "--limit-rate": "limit_rate", "-H": "header",
    "--header": "header", "--noproxy": "noproxy", "--speed-limit": "", "--speed-time": "", "--retry": "", "-A": "",
}  # fmt: skip
CAUSES: tuple[tuple[type[Exception], int, str], ...] = (
    (socket.gaierror, RESOLVE, "Could not resolve host"),
    (TimeoutError, TIMEOUT, "Connection timed out"),
    (ssl.SSLCertVerificationError, CERTIFICATE, "SSL certificate problem: it cannot be verified"),
    (ssl.SSLError, TLS, "SSL connect error"),
    (http.client.RemoteDisconnected, EMPTY, "Empty reply from server"),
    (ConnectionResetError, RECEIVE, "Connection reset by peer"),
    (BrokenPipeError, RECEIVE, "Connection reset by peer"),
)


class Failed(Exception):
    """The transfer ends with one of curl's exit codes."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


@dataclass
class Transfer:
    """The options and what came of them."""

    url: str = ""
    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    status: int = 0
    connect_status: int = 0
    size: int = 0

    def limit(self, name: str) -> float | None:
        """A time limit in seconds; none where it is not set or 0."""
        return float(self.values.get(name, "0")) or None

    def report(self, code: int, message: str) -> str:
        """`--write-out` with its variables filled in."""
        text = self.values.get("write_out", "").replace("\\n", "\n").replace("\\t", "\t")
        seconds = time.monotonic() - self.started
        known = {
            "http_code": f"{self.status:03d}", "response_code": f"{self.status:03d}", "http_connect": f"{self.connect_status:03d}",
            "time_total": f"{seconds:.6f}", "size_download": str(self.size), "speed_download": f"{self.size / max(seconds, 1e-6):.0f}",
            "url_effective": self.url, "exitcode": str(code), "errormsg": message,
        }  # fmt: skip
        for name, value in known.items():
            text = text.replace(f"%{{{name}}}", value)
        return text


def main(arguments: list[str]) -> int:
    """Transfer one URL; curl's exit code."""
    transfer, code, message = Transfer(), 0, ""
    try:
        parse(transfer, arguments)
        run(transfer)
    except Failed as error:
        code, message = error.code, error.message
    if code and ("silent" not in transfer.flags or "show_error" in transfer.flags):
        sys.stderr.write(f"curl: ({code}) {message}\n")
    sys.stdout.flush()
    sys.stdout.write(transfer.report(code, message))
    return code


def parse(transfer: Transfer, arguments: list[str]) -> None:
    """Read the command line into `transfer`."""
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in FLAGS:
            transfer.flags.add(FLAGS[word])
        elif word in VALUES and rest:
            transfer.values[VALUES[word]] = rest.pop(0)
        elif word.startswith("-") and not word.startswith("--") and len(word) > len("-x"):
            rest[:0] = [word[:2], word[2:] if word[:2] in VALUES else f"-{word[2:]}"]
        elif word.startswith("-"):
            raise Failed(USAGE, f"option {word}: is unknown")
        else:
            transfer.url = word if "://" in word else f"http://{word}"
    if not transfer.url:
        raise Failed(USAGE, "no URL specified!")


def run(transfer: Transfer) -> None:
    """Fetch the URL and write its body."""

    def too_late(_: int, __: FrameType | None) -> None:
        raise Failed(TIMEOUT, "Operation timed out")

    signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, transfer.limit("max_time") or 0)
    try:
        _follow(transfer)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _follow(transfer: Transfer) -> None:
    for _ in range(MOST_REDIRECTS):
        with_answer = _translated(transfer)
        target = with_answer.getheader("Location")
        if "follow" not in transfer.flags or with_answer.status not in REDIRECTING or not target:
            _save(transfer, with_answer)
            return
        transfer.url = urljoin(transfer.url, target)
    raise Failed(REDIRECTS, "Maximum redirects followed")


def _translated(transfer: Transfer) -> http.client.HTTPResponse:
    try:
        return _ask(transfer)
    except (OSError, http.client.HTTPException) as error:
        raise _failed(transfer, error) from error


def _failed(transfer: Transfer, error: OSError | http.client.HTTPException) -> Failed:
    if "Tunnel connection failed" in str(error):
        transfer.connect_status = next((int(word) for word in str(error).split() if word.isdigit()), 0)
        return Failed(RECEIVE, f"CONNECT tunnel failed, response {transfer.connect_status}")
    for kind, code, message in CAUSES:
        if isinstance(error, kind):
            return Failed(code, message)
    return Failed(CONNECT, f"Failed to connect: {error}")


def _ask(transfer: Transfer) -> http.client.HTTPResponse:
    parts = urlsplit(transfer.url)
    connection, target = _connection(transfer, parts)
    connection.connect()
    if connection.sock is not None:
        connection.sock.settimeout(transfer.limit("max_time"))
    headers = {"Accept": "*/*", "User-Agent": "curl/lab"}
    if "header" in transfer.values:
        name, _, value = transfer.values["header"].partition(":")
        headers[name] = value.strip()
    if offset := _offset(transfer):
        headers["Range"] = f"bytes={offset}-"
    connection.request("GET", target, headers=headers)
    answer = connection.getresponse()
    transfer.status = answer.status
    return answer


def _connection(transfer: Transfer, parts: SplitResult) -> tuple[http.client.HTTPConnection, str]:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    limit = transfer.limit("connect_timeout") or transfer.limit("max_time")
    secure, proxy = parts.scheme == "https", _proxy(transfer)
    own = (parts.hostname or "", parts.port or (443 if secure else 80))
    if not secure:
        return http.client.HTTPConnection(*(proxy or own), timeout=limit), transfer.url if proxy else path
    context = ssl.create_default_context(cafile=transfer.values.get("cacert"))
    if "insecure" in transfer.flags:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(*(proxy or own), timeout=limit, context=context)
    if proxy:
        connection.set_tunnel(*own)
    return connection, path


def _proxy(transfer: Transfer) -> tuple[str, int] | None:
    given = transfer.values.get("proxy", "")
    if not given or transfer.values.get("noproxy") == "*":
        return None
    parts = urlsplit(given if "://" in given else f"http://{given}")
    return parts.hostname or "", parts.port or 1080


def _offset(transfer: Transfer) -> int:
    resume = transfer.values.get("resume", "0")
    if resume != "-":
        return int(resume)
    output = Path(transfer.values.get("output", "-"))
    return output.stat().st_size if output.is_file() else 0


def _save(transfer: Transfer, answer: http.client.HTTPResponse) -> None:
    if "fail" in transfer.flags and answer.status >= FIRST_ERROR:
        raise Failed(HTTP_ERROR, f"The requested URL returned error: {answer.status}")
    resuming = _offset(transfer) > 0
    if resuming and answer.status == OK:
        raise Failed(RANGE, "HTTP server does not seem to support byte ranges. Cannot resume.")
    try:
        if (name := transfer.values.get("output", "-")) == "-":
            _copy(transfer, answer, sys.stdout.buffer)
        else:
            with Path(name).open("ab" if resuming and answer.status == PARTIAL_CONTENT else "wb") as file:
                _copy(transfer, answer, file)
    except http.client.IncompleteRead as error:
        raise Failed(PARTIAL, "transfer closed with outstanding read data remaining") from error
    except TimeoutError as error:
        raise Failed(TIMEOUT, "Operation timed out") from error
    except OSError as error:
        raise Failed(WRITE, f"Failure writing output: {os.strerror(error.errno or 0)}") from error


def _copy(transfer: Transfer, answer: http.client.HTTPResponse, sink: IO[bytes]) -> None:
    rate = _rate(transfer.values.get("limit_rate", "0"))
    piece = min(CHUNK_BYTES, int(rate / 10) + 1) if rate else CHUNK_BYTES
    begun = time.monotonic()
    while data := answer.read(piece):
        sink.write(data)
        transfer.size += len(data)
        if rate:
            time.sleep(max(0.0, transfer.size / rate - (time.monotonic() - begun)))
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def _rate(text: str) -> float:
    number = text.rstrip("kKmMgGbB")
    return float(number) * UNITS[text[len(number) :].lower().rstrip("b")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
