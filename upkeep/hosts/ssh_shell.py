"""A kept shell on one SSH channel: calls go in one after the other, and each comes back with its own output and exit code."""

from __future__ import annotations

import time
from contextlib import suppress

import paramiko

from upkeep.errors import Unreachable
from upkeep.hosts.answer import Answer
from upkeep.hosts.bootstrap import Become, Call
from upkeep.hosts.feed import PIECE_BYTES, Feed
from upkeep.hosts.kept_shell import GO, Ending, Frame, Kept, Kind
from upkeep.hosts.ssh_link import SshLink
from upkeep.hosts.ssh_session import KILLED_BY_SIGNAL, SshSession, Stdin
from upkeep.hosts.stopwatch import Stopwatch
from upkeep.hosts.transport import Limits

MOST_BYTES = 262_144
"""A longer script gets a channel of its own: what is sent here must fit into the host's window, because nobody reads meanwhile."""

_END_SECONDS = 3.0


class ShellGone(Exception):
    """The shell took no call, and nothing of the script was run: it may be sent to another one."""


class _LeftOpen(Stdin):
    """Standard input of a shell that waits for calls."""

    def finish(self) -> None:
        """Leave it open."""


class SshShell(SshSession):
    """`start` and `begin` once, then `call` as often as needed; after any error the shell is not to be used again."""

    def __init__(self, link: SshLink, channel: paramiko.Channel, call: Call, answer: Answer) -> None:
        super().__init__(link, channel, call, answer)
        self.knows = ""
        self._endings = (Ending(call.nonce), Ending(call.nonce))

    @property
    def asked(self) -> Call:
        """What was asked of the host to have it."""
        return self._call

    @property
    def become(self) -> Become:
        """As whom it runs."""
        return self._call.become

    @property
    def alive(self) -> bool:
        """Whether it still waits for calls, as far as is known."""
        return bool(self._link.alive and not self._ended)

    @property
    def _ended(self) -> bool:
        return bool(self._channel.closed or self._channel.eof_received or self._channel.exit_status_ready())

    def begin(self, watch: Stopwatch) -> None:
        """Wait until it takes calls.

        Raises:
            ShellGone: the login reads what is sent and says nothing, or takes its time.
            CommandTimeout, Unreachable, PrivilegeRefused, LoginRefused, GarbledOutput: as for any script.
        """
        feed = Feed(self._call, (), _LeftOpen(self._channel, self._bell), watch)
        feed.start()
        try:
            if not self._until_begun(watch, feed):
                self._exit_code()
                raise self._broken()
        finally:
            feed.stop()

    def call(self, script: str, kind: Kind, limits: Limits, watch: Stopwatch) -> tuple[int, Answer]:
        """Run one script and wait for its end.

        Raises:
            ShellGone: it was not run.
            CommandTimeout: a limit passed; the script may still run.
            Unreachable: the connection broke; the script may have run.
        """
        self._send(Frame.of(script, kind), limits.output_bytes)
        if not self._until_begun(watch):
            raise ShellGone
        with suppress(OSError):  # the reader learns of a broken connection itself
            Stdin(self._channel, self._bell).send(memoryview(GO))
        return self._until_ended(watch), self._answer

    def keep(self, kept: Kept, watch: Stopwatch) -> None:
        """Send what later scripts have in common.

        Raises:
            ShellGone: the shell is gone.
            CommandTimeout: a limit passed.
        """
        self._send(Frame.keeping(kept), 0)
        try:
            self._until_ended(watch)
        except Unreachable as error:
            raise ShellGone from error
        if self._endings[0].code != 0:
            raise ShellGone
        self.knows = kept.text

    def end(self) -> None:
        """Let it go, and wait a moment for its end: a host may count it among the sessions it allows."""
        with self._link.no_longer_than(_END_SECONDS):
            self._channel.shutdown_write()
            self._channel.status_event.wait(_END_SECONDS)
        self.close()

    @property
    def answer(self) -> Answer:
        """What came of the last call so far."""
        return self._answer

    def _send(self, frame: Frame, output_bytes: int) -> None:
        self._answer, self._endings = Answer(frame.nonce, output_bytes), (Ending(frame.nonce), Ending(frame.nonce))
        wire, view = Stdin(self._channel, self._bell), memoryview(frame.lead)
        try:
            for start in range(0, len(view), PIECE_BYTES):
                wire.send(view[start : start + PIECE_BYTES])
        except OSError as error:
            raise ShellGone from error

    def _until_begun(self, watch: Stopwatch, feed: Feed | None = None) -> bool:
        """Wait for the host's word that it has a script; no when the shell has ended without one."""
        give_up = time.monotonic() + self._link.target.connect_timeout.total_seconds()
        while not (self._answer.out.found and self._answer.err.found):
            self._bell.silence()
            ended, moved = self._ended, self._take(watch)
            if feed is not None:
                feed.raise_error()
                self._tend_password(feed)
            if ended and not moved:
                return False
            watch.check()
            if time.monotonic() > give_up:
                raise ShellGone
            self._wait(watch, moved=moved)
        return True

    def _until_ended(self, watch: Stopwatch) -> int:
        out, err = self._endings
        while out.code is None or err.code is None:
            self._bell.silence()
            ended = self._channel.closed or self._channel.eof_received
            moved = self._take(watch)
            if ended and not moved:
                return self._cut()
            watch.check()
            self._wait(watch, moved=moved)
        return out.code

    def _stdout(self, piece: bytes) -> None:
        self._answer.stdout(self._endings[0].feed(piece))

    def _stderr(self, piece: bytes) -> None:
        self._answer.stderr(self._endings[1].feed(piece))

    def _cut(self) -> int:
        """The shell is gone in the middle of a call; the exit code where the script itself has ended it."""
        for ending, take in zip(self._endings, (self._answer.stdout, self._answer.stderr), strict=True):
            take(ending.rest())
        self._channel.status_event.wait(_END_SECONDS)
        if not self._link.alive and not self._channel.eof_received:
            raise self._broken()
        code = self._channel.exit_status
        return KILLED_BY_SIGNAL if code < 0 else code

    def _broken(self) -> Unreachable:
        began = "while the script ran" if self._answer.started else "before the script began"
        return Unreachable(
            self._link.target.name,
            f"the connection broke {began}",
            remedy="look at the host; what the script did so far is unknown",
        )
