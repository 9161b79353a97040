"""The archive reaches the host once, whole, and only if it is the one that was ordered."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.transaction.machine import Machine
from upkeep.errors import ArtifactError, BadInput, ChecksumMismatch


def test_a_delivery_goes_on_where_the_last_one_stopped(machine: Machine) -> None:
    archive, order, change = machine.archives["2.0.0"], machine.locked(), machine.change()
    assert change.partial_size(order) == 0
    with pytest.raises(ArtifactError, match="only 100 bytes"):
        change.deliver(order, [archive[:60], archive[60:100]], offset=0)
    assert change.partial_size(order) == 100
    change.deliver(order, [archive[100:]], offset=100)
    assert change.partial_size(order) == len(archive)
    change.deliver(order, [], offset=len(archive))
    change.stage(order)


def test_a_delivery_from_further_than_what_is_there_is_not_taken(machine: Machine) -> None:
    order = machine.locked()
    with pytest.raises(ArtifactError, match="only 0 bytes"):
        machine.change().deliver(order, [b"later bytes"], offset=50)


def test_a_delivery_from_before_what_is_there_replaces_it(machine: Machine) -> None:
    archive, order, change = machine.archives["2.0.0"], machine.locked(), machine.change()
    with pytest.raises(ArtifactError):
        change.deliver(order, [b"x" * 90], offset=0)
    change.deliver(order, [archive], offset=0)


@pytest.mark.parametrize("spoil", [lambda data: data[:-1] + b"!", lambda data: data + b"x", lambda data: data * 50])
def test_another_archive_is_refused_and_nothing_of_it_stays(machine: Machine, spoil) -> None:
    archive, order, change = machine.archives["2.0.0"], machine.locked(), machine.change()
    with pytest.raises(ChecksumMismatch, match="SHA-256"):
        change.deliver(order, [spoil(archive)], offset=0)
    assert change.partial_size(order) == 0
    with pytest.raises(ChecksumMismatch):
        change.stage(order)


class Server(ThreadingHTTPServer):
    """Serves one file and remembers what was asked."""

    def __init__(self, content: bytes) -> None:
        self.content, self.seen, self.ranges, self.endless = content, [], True, False
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/archive"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append(dict(self.headers))
        if self.path != "/archive":
            self.send_error(404)
            return
        start = int(self.headers["Range"][6:-1]) if self.headers["Range"] and self.server.ranges else 0
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(self.server.content) - 1}/{len(self.server.content)}"
            )
        if not self.server.endless:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        try:
            while self.server.endless:
                self.wfile.write(b"x" * 65536)
        except OSError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(machine: Machine) -> Iterator[Server]:
    with Server(machine.archives["2.0.0"]) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def pull(machine: Machine, tools: Path, order, url: str, **options) -> None:
    change = machine.change()
    change._transport._env["PATH"] = f"{machine.root}/bin:{tools}"
    change.fetch(order, url, **options)


def test_a_host_pulls_the_archive_itself(machine: Machine, server: Server, pulling: Path) -> None:
    order = machine.locked()
    pull(machine, pulling, order, server.url, headers={"Authorization": 'Bearer "s3cret"'}, rate_limit=10_000_000)
    assert server.seen[-1]["Authorization"] == 'Bearer "s3cret"'
    machine.change().stage(order)
    assert not any("s3cret" in path.read_text(errors="replace") for path in machine.upkeep.rglob("*") if path.is_file())


def test_a_pull_goes_on_where_the_last_one_stopped(machine: Machine, server: Server, pulling: Path) -> None:
    order = machine.locked()
    with pytest.raises(ArtifactError):
        machine.change().deliver(order, [server.content[:100]], offset=0)
    pull(machine, pulling, order, server.url)
    assert server.seen[-1]["Range"] == "bytes=100-"


def test_a_part_of_another_file_is_dropped_and_the_pull_begins_anew(
    machine: Machine, server: Server, pulling: Path
) -> None:
    order = machine.locked()
    with pytest.raises(ArtifactError):
        machine.change().deliver(order, [b"?" * 100], offset=0)
    pull(machine, pulling, order, server.url)
    machine.change().stage(order)


def test_a_server_that_cannot_resume_is_asked_for_the_whole(machine: Machine, server: Server, pulling: Path) -> None:
    order = machine.locked()
    server.ranges = False
    with pytest.raises(ArtifactError):
        machine.change().deliver(order, [server.content[:100]], offset=0)
    pull(machine, pulling, order, server.url)
    machine.change().stage(order)


def test_a_server_that_never_ends_fills_no_disk(machine: Machine, server: Server, pulling: Path) -> None:
    order = machine.locked()
    server.endless = True
    with pytest.raises((ChecksumMismatch, ArtifactError)):
        pull(machine, pulling, order, server.url)
    assert sum(path.stat().st_size for path in machine.upkeep.rglob("*") if path.is_file()) < 10_000


def test_another_file_is_refused(machine: Machine, server: Server, pulling: Path) -> None:
    server.content = b"<html>please log in</html>" * 40
    order = machine.locked()
    with pytest.raises((ChecksumMismatch, ArtifactError)):
        pull(machine, pulling, order, server.url)
    assert not list(machine.upkeep.glob("incoming/*.tar.gz"))


def test_a_missing_file_is_told_with_the_programs_own_words(machine: Machine, server: Server, pulling: Path) -> None:
    with pytest.raises(ArtifactError, match="404"):
        pull(machine, pulling, machine.locked(), server.url + "-not-there")


def test_a_pull_has_an_end(machine: Machine, pulling: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/archive"
        with pytest.raises(ArtifactError, match="download on the host failed"):
            pull(machine, pulling, machine.locked(), url, timeout=timedelta(seconds=1))


def test_a_host_without_curl_and_wget_says_so(machine: Machine, pulling: Path) -> None:
    for name in ("curl", "wget"):
        (pulling / name).unlink(missing_ok=True)
    with pytest.raises(ArtifactError, match="neither curl nor wget"):
        pull(machine, pulling, machine.locked(), "http://127.0.0.1:9/x")


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("ftp://x/y", {}),
        ("http://x/ y", {}),
        ("http://x/\ny", {}),
        ("http://x", {"A": "b\r\nC: d"}),
        ("http://x", {"A b": "c"}),
    ],
)
def test_addresses_and_headers_that_could_smuggle_something_are_refused(machine: Machine, url, headers) -> None:
    with pytest.raises(BadInput):
        machine.change().fetch(machine.order(), url, headers=headers)


def test_two_archives_do_not_share_their_parts(machine: Machine) -> None:
    other = replace(machine.locked(), artifact_sha256=hashlib.sha256(b"").hexdigest())
    with pytest.raises(ArtifactError):
        machine.change().deliver(machine.locked(), [b"abc"], offset=0)
    assert machine.change().partial_size(other) == 0
