"""The relay on real sockets: an address works once, for one host, from any byte on, no faster than it may (issue 4: 6)."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from upkeep.domain.bandwidth import Bucket, Throttle
from upkeep.errors import ArtifactError
from upkeep.services.relay import Relay

CONTENT = os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SOON = timedelta(minutes=1)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay("127.0.0.1") as listening:
        yield listening


def grant(relay: Relay, archive: Path, host: str = "h1", **options) -> str:
    return relay.grant(host, archive, SHA256, **{"good_for": SOON, **options}).get_secret_value()


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    connection.request(method, parts.path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_a_host_gets_the_whole_file(relay: Relay, archive: Path) -> None:
    status, body, headers = ask(grant(relay, archive))
    assert (status, body) == (200, CONTENT)
    assert headers["Content-Length"] == str(len(CONTENT))


def test_it_listens_on_loopback_and_nowhere_else(relay: Relay) -> None:
    assert relay.address.startswith("127.0.0.1:")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", int(relay.address.rpartition(":")[2])), timeout=5)


def test_a_second_use_is_refused(relay: Relay, archive: Path) -> None:
    url = grant(relay, archive)
    ask(url)
    assert ask(url)[:2] == (410, b"")


def test_two_at_the_same_time_get_it_once(relay: Relay, archive: Path) -> None:
    url, statuses = grant(relay, archive), []
    asking = [threading.Thread(target=lambda: statuses.append(ask(url)[0])) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert sorted(statuses) == [200, *[410] * 7]


def test_an_address_that_was_not_used_in_time_is_void(relay: Relay, archive: Path) -> None:
    assert ask(grant(relay, archive, good_for=timedelta(0)))[0] == 410


def test_a_new_address_voids_the_hosts_old_one_and_nobody_elses(relay: Relay, archive: Path) -> None:
    old, other = grant(relay, archive), grant(relay, archive, "h2")
    new = grant(relay, archive)
    assert [ask(url)[0] for url in (old, other, new)] == [410, 200, 200]


@pytest.mark.parametrize("path", ["/", "/archive", "/../archive", "/etc/passwd", "//x", f"/{'a' * 43}"])
def test_nothing_is_there_for_who_has_no_address(relay: Relay, archive: Path, path: str) -> None:
    grant(relay, archive)
    assert ask(f"http://{relay.address}{path}")[:2] == (404, b"")


def test_addresses_cannot_be_guessed(relay: Relay, archive: Path) -> None:
    tokens = {urlsplit(grant(relay, archive, f"h{n}")).path for n in range(100)}
    assert len(tokens) == 100
    assert all(len(token) >= 43 for token in tokens)


def test_a_broken_download_is_gone_on_with_in_the_middle(relay: Relay, archive: Path) -> None:
    status, body, headers = ask(grant(relay, archive), Range="bytes=123456-")
    assert (status, body) == (206, CONTENT[123456:])
    assert headers["Content-Range"] == f"bytes 123456-{len(CONTENT) - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("asked", [f"bytes={len(CONTENT)}-", "bytes=-5", "bytes=0-5,7-9", "lines=1-"])
def test_a_range_that_cannot_be_had_is_refused(relay: Relay, archive: Path, asked: str) -> None:
    assert ask(grant(relay, archive), Range=asked)[0] == 416


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
def test_nothing_but_fetching_is_understood_and_the_address_stays_good(
    relay: Relay, archive: Path, method: str
) -> None:
    url = grant(relay, archive)
    assert ask(url, method)[0] == 501
    assert ask(url)[0] == 200


def test_a_limit_is_kept_to(relay: Relay, archive: Path) -> None:
    url, began = grant(relay, archive, throttle=Throttle((Bucket(600_000),))), time.monotonic()
    assert ask(url)[1] == CONTENT
    assert time.monotonic() - began > 0.4


def test_a_limit_for_all_holds_for_all_together(relay: Relay, archive: Path) -> None:
    together, bodies, began = Bucket(1_500_000), [], time.monotonic()
    urls = [grant(relay, archive, f"h{n}", throttle=Throttle((together,))) for n in range(3)]
    asking = [threading.Thread(target=lambda url=url: bodies.append(ask(url)[1])) for url in urls]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert bodies == [CONTENT] * 3
    assert time.monotonic() - began > 0.5


def test_a_host_that_never_reads_does_not_keep_another_from_its_file(relay: Relay, archive: Path) -> None:
    silent = socket.create_connection(tuple(urlsplit(grant(relay, archive)).netloc.split(":")))
    with silent:
        assert ask(grant(relay, archive, "h2"))[1] == CONTENT


def test_a_host_that_hangs_up_leaves_no_trace_on_standard_error(relay: Relay, archive: Path, capfd) -> None:
    url = grant(relay, archive)
    with socket.create_connection(tuple(urlsplit(url).netloc.split(":"))) as hasty:
        hasty.sendall(f"GET {urlsplit(url).path} HTTP/1.1\r\n\r\n".encode())
        hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ask(grant(relay, archive, "h2"))
    assert capfd.readouterr() == ("", "")


def test_after_the_run_nobody_listens(archive: Path) -> None:
    relay = Relay("127.0.0.1")
    url = grant(relay, archive)
    relay.close()
    with pytest.raises(ConnectionRefusedError):
        ask(url)


def test_an_address_that_cannot_be_listened_on_is_told_with_what_to_do() -> None:
    with Relay("127.0.0.1") as first, pytest.raises(ArtifactError, match=r"delivery\.relay"):
        Relay("127.0.0.1", int(first.address.rpartition(":")[2]))
    with pytest.raises(ArtifactError, match="cannot listen on 192.0.2.1:8021"):
        Relay("192.0.2.1", 8021)
