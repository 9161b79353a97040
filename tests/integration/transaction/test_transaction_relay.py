"""Hosts that pull from the relay: broken and gone on with, wrong, late, twice; the address is seen nowhere (issue 4: 6; faults 19)."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.integration.transaction.machine import Machine, tar_gz
from upkeep.errors import ArtifactError
from upkeep.hosts.host_change import Order
from upkeep.services.relay import Relay

SOON = timedelta(minutes=1)
NOISE = random.Random(7).randbytes(1_000_000)


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay("127.0.0.1") as listening:
        yield listening


@pytest.fixture
def archive(machine: Machine, tmp_path: Path) -> Path:
    """The archive on the controller; a megabyte, so that a link can break in its middle."""
    agent = (machine.root / "usr/bin/agent").read_bytes()
    machine.archives["2.0.0"] = tar_gz(("agent-x/bin/agent", agent, 0o755), ("agent-x/noise", NOISE, 0o644))
    path = tmp_path / "archive"
    path.write_bytes(machine.archives["2.0.0"])
    return path


def address(relay: Relay, archive: Path, **options) -> str:
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    return relay.grant("h1", archive, sha256, **{"good_for": SOON, **options}).get_secret_value()


def pull(machine: Machine, tools: Path, order, url: str, **environment: str) -> None:
    change = machine.change(**environment)
    change._transport._env["PATH"] = f"{machine.root}/bin:{tools}"
    change.fetch(order, url, one_time=True, timeout=timedelta(seconds=20))


def unpacked(machine: Machine, order: Order) -> bytes:
    """Stage what came; the large file as it was unpacked on the host."""
    machine.change().stage(order)
    (noise,) = machine.root.glob("opt/agent/releases/*/agent-x/noise")
    return noise.read_bytes()


@contextmanager
def breaking_after(address: str, size_bytes: int) -> Iterator[str]:
    """A link to `address` that is cut once, after so many bytes."""
    host, port = address.rsplit(":", 1)
    with socket.create_server(("127.0.0.1", 0)) as door:

        def pass_on() -> None:
            with suppress(OSError):
                near, _ = door.accept()
                with near, socket.create_connection((host, int(port))) as far:
                    far.sendall(near.recv(65_536))
                    left = size_bytes
                    while left and (piece := far.recv(min(left, 65_536))):
                        near.sendall(piece)
                        left -= len(piece)

        thread = threading.Thread(target=pass_on, daemon=True)
        thread.start()
        yield f"127.0.0.1:{door.getsockname()[1]}"
        thread.join(20)


def through(url: str, door: str) -> str:
    return urlunsplit(urlsplit(url)._replace(netloc=door))


def test_a_host_pulls_from_the_relay_and_unpacks_it(
    machine: Machine, relay: Relay, archive: Path, pulling: Path
) -> None:
    order = machine.locked()
    pull(machine, pulling, order, address(relay, archive))
    assert unpacked(machine, order) == NOISE


def test_a_link_that_breaks_in_the_middle_is_gone_on_with_under_a_new_address(
    machine: Machine, relay: Relay, archive: Path, pulling: Path
) -> None:
    order, url = machine.locked(), address(relay, archive)
    with breaking_after(relay.address, 400_000) as door, pytest.raises(ArtifactError) as broken:
        pull(machine, pulling, order, through(url, door))
    here = machine.change().partial_size(order)
    assert 300_000 < here < 400_000
    assert str(here) in str(broken.value)
    with pytest.raises(ArtifactError, match="410"):
        pull(machine, pulling, order, url)
    assert machine.change().partial_size(order) == here, "what had come was kept"
    pull(machine, pulling, order, address(relay, archive))
    assert unpacked(machine, order) == NOISE


def test_a_push_goes_on_where_a_pull_broke(machine: Machine, relay: Relay, archive: Path, pulling: Path) -> None:
    order = machine.locked()
    with breaking_after(relay.address, 400_000) as door, pytest.raises(ArtifactError):
        pull(machine, pulling, order, through(address(relay, archive), door))
    here = machine.change().partial_size(order)
    machine.change().deliver(order, [archive.read_bytes()[here:]], offset=here)
    assert unpacked(machine, order) == NOISE


def test_a_part_that_was_wrong_is_dropped_and_comes_again(
    machine: Machine, relay: Relay, archive: Path, pulling: Path
) -> None:
    order = machine.locked()
    with pytest.raises(ArtifactError):
        machine.change().deliver(order, [b"?" * 1000], offset=0)
    with pytest.raises(ArtifactError):
        pull(machine, pulling, order, address(relay, archive))
    assert machine.change().partial_size(order) == 0
    pull(machine, pulling, order, address(relay, archive))
    assert unpacked(machine, order) == NOISE


def test_another_file_than_the_signed_one_does_not_stay(
    machine: Machine, relay: Relay, archive: Path, pulling: Path
) -> None:
    order, url = machine.locked(), address(relay, archive)
    archive.write_bytes(os.urandom(archive.stat().st_size))
    with pytest.raises(ArtifactError, match="not what the release names"):
        pull(machine, pulling, order, url)
    assert not list(machine.upkeep.glob("incoming/*"))


def test_a_used_and_a_late_address_are_refused_and_told(
    machine: Machine, relay: Relay, archive: Path, pulling: Path
) -> None:
    order, late = machine.locked(), address(relay, archive, good_for=timedelta(0))
    with pytest.raises(ArtifactError, match="410"):
        pull(machine, pulling, order, late)


def test_a_proxy_that_the_host_has_is_not_told_the_address(
    machine: Machine, relay: Relay, archive: Path, pulling: Path
) -> None:
    order = machine.locked()
    pull(machine, pulling, order, address(relay, archive), http_proxy="http://127.0.0.1:9", no_proxy="")
    assert unpacked(machine, order) == NOISE


def watched(program: Path, log: Path) -> None:
    """The program notes its arguments and its environment before it does its work."""
    real = program.resolve()
    program.unlink()
    program.write_text(
        f'#!/bin/sh\ntr "\\0" "\\n" </proc/$$/cmdline >>{log}\ntr "\\0" "\\n" </proc/$$/environ >>{log}\nexec {real} "$@"\n'
    )
    program.chmod(0o755)


def test_the_address_is_in_no_list_of_processes_no_file_and_no_message(
    machine: Machine, relay: Relay, archive: Path, pulling: Path, tmp_path: Path
) -> None:
    tool = next(pulling / name for name in ("curl", "wget") if (pulling / name).exists())
    log = tmp_path / "seen"
    watched(tool, log)
    order, used = machine.locked(), address(relay, archive)
    token = urlsplit(used).path.removeprefix("/")
    relay.grant("h1", archive, "", good_for=SOON)
    with pytest.raises(ArtifactError) as refused:
        pull(machine, pulling, order, used)
    assert token not in f"{refused.value} {refused.value.__dict__}"
    fresh = address(relay, archive)
    pull(machine, pulling, order, fresh)
    seen = log.read_text()
    assert seen.count("archive") + seen.count(".part") > 0, "the arguments were seen"
    for secret in (token, urlsplit(fresh).path.removeprefix("/")):
        assert secret not in seen
        kept = [path for path in machine.root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert kept == []
