"""The thread that sends a call to a host."""

from __future__ import annotations

import threading

import pytest

from upkeep.hosts.bootstrap import encode_call
from upkeep.hosts.feed import Feed
from upkeep.hosts.stopwatch import Stopwatch
from upkeep.hosts.transport import Limits


class BrokenWire:
    """A wire that fails in a way nobody foresaw."""

    def __init__(self) -> None:
        self.aborted = threading.Event()

    def send(self, piece: memoryview) -> None:
        message = f"no way to send {len(piece)} bytes"
        raise ValueError(message)

    def finish(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted.set()


def test_what_breaks_while_sending_reaches_the_caller_instead_of_its_idle_limit() -> None:
    wire = BrokenWire()
    feed = Feed(encode_call("true"), (), wire, Stopwatch("h1", Limits()))
    feed.start()
    assert wire.aborted.wait(10)
    feed.stop()
    with pytest.raises(ValueError, match="no way to send"):
        feed.raise_error()
