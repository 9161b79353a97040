"""Sends a call and its data to a host in a thread of its own, so that reading never waits for writing."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from upkeep.hosts.bootstrap import Call
from upkeep.hosts.stopwatch import Stopwatch

PIECE_BYTES = 32_704  # what fits into one SSH packet of 32 KB; one byte more costs a packet more
_JOIN_SECONDS = 1.0


class Wire(Protocol):
    """Standard input of a running script."""

    def send(self, piece: memoryview) -> None:
        """Send all of `piece`, waiting at most a moment at a time; OSError when nobody listens any more."""

    def finish(self) -> None:
        """End of file."""

    def abort(self) -> None:
        """Make the reader stop: there will be no end of file."""


class Feed:
    """One writer for one script: password, then (once the bootstrap is ready) the script, then its data, then end of file."""

    def __init__(self, call: Call, stdin: Iterable[bytes], wire: Wire, watch: Stopwatch) -> None:
        self._call, self._stdin, self._wire, self._watch = call, stdin, wire, watch
        self._go = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="upkeep-feed", daemon=True)
        self._error: Exception | None = None
        if not call.password_line.get_secret_value():
            self._go.set()

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def ready(self) -> None:
        """The bootstrap runs: the script may follow."""
        self._go.set()

    def stop(self) -> None:
        """Send nothing more, and wait a moment for the piece that is on its way."""
        self._stopped = True
        self._go.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_SECONDS)

    def raise_error(self) -> None:
        """Raise what the caller's own `stdin` raised, or what broke here."""
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        # The other end may close early: a script need not read all of its data, and the reader learns of a broken connection itself.
        try:
            with suppress(OSError):
                self._put(self._call.password_line.get_secret_value().encode())
                self._go.wait()
                self._put(self._call.lead)
                for piece in self._pieces():
                    self._put(piece)
                if not self._stopped:
                    self._wire.finish()
        except Exception as error:  # noqa: BLE001 - a thread that died in silence would leave the reader to its idle limit
            self._fail(error)

    def _pieces(self) -> Iterable[bytes]:
        try:
            yield from self._stdin
        except Exception as error:  # noqa: BLE001 - the caller's iterable may raise anything; it is raised again in the caller's thread
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._stopped = True
        self._wire.abort()

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), PIECE_BYTES):
            if self._stopped:
                return
            self._wire.send(view[start : start + PIECE_BYTES])
            self._watch.touch()
