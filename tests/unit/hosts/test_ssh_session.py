"""How much is on its way to a script at once (issue 4): sshd copies all that waits whenever more comes."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import paramiko
import pytest

from upkeep.hosts.ssh_link import SshLink
from upkeep.hosts.ssh_session import Doorbell, Stdin

WINDOW_BYTES, MOST_BYTES = 2_097_152, 262_144


class Window:
    """A channel to a host that reads nothing, and tells of no room."""

    def __init__(self) -> None:
        self.lock, self.out_window_size = threading.Lock(), WINDOW_BYTES
        self.waited_after: list[int] = []
        self.sent_bytes = 0

    def settimeout(self, seconds: float) -> None: ...

    def send(self, piece: memoryview) -> int:
        if not self.out_window_size:
            self.waited_after.append(self.sent_bytes)
            raise TimeoutError
        sent = min(len(piece), self.out_window_size)
        self.out_window_size -= sent
        self.sent_bytes += sent
        return sent


def standard_input(window: Window) -> Stdin:
    return Stdin(cast("paramiko.Channel", window), Doorbell())


def test_no_more_is_on_its_way_than_was_asked_for() -> None:
    window = Window()
    stdin = standard_input(window)
    stdin.hold_back(MOST_BYTES)
    stdin.send(memoryview(bytes(MOST_BYTES)))
    assert (window.sent_bytes, window.out_window_size) == (MOST_BYTES, 0)


def test_a_host_that_tells_of_room_late_is_given_all_of_its_window_after_one_wait() -> None:
    window = Window()
    stdin = standard_input(window)
    stdin.hold_back(MOST_BYTES)
    stdin.send(memoryview(bytes(WINDOW_BYTES)))
    assert window.sent_bytes == WINDOW_BYTES
    assert window.waited_after == [MOST_BYTES]


def test_a_window_that_is_smaller_anyway_stays_as_it_is() -> None:
    window = Window()
    window.out_window_size = 24_576
    standard_input(window).hold_back(MOST_BYTES)
    assert window.out_window_size == 24_576


class Far(socket.socket):
    """A socket over which an answer takes 100 ms."""

    def getsockopt(self, *_: Any) -> Any:
        return struct.pack("=148xI", 100_000)


class Old(socket.socket):
    """A socket of a kernel that tells less."""

    def getsockopt(self, *_: Any) -> Any:
        return bytes(104)


def link_over(sock: socket.socket, hops: int = 1) -> SshLink:
    return SshLink(cast("Any", None), [cast("paramiko.Transport", SimpleNamespace(sock=sock))] * hops)


@pytest.fixture
def near() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        yield sock


def test_a_near_host_gets_a_quarter_of_a_mebibyte_and_a_far_one_what_its_connection_holds(near: socket.socket) -> None:
    assert link_over(near).on_its_way_bytes == MOST_BYTES
    with Far() as far:
        assert link_over(far).on_its_way_bytes == 12_500_000


def test_behind_a_jump_host_or_where_the_way_is_unknown_nothing_is_held_back(near: socket.socket) -> None:
    assert link_over(near, hops=2).on_its_way_bytes == sys.maxsize
    near.close()
    assert link_over(near).on_its_way_bytes == sys.maxsize
    with Old() as old:
        assert link_over(old).on_its_way_bytes == sys.maxsize
