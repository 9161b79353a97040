"""One script on one SSH channel: sends the call, takes in both streams, keeps to the limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import paramiko

from upkeep.errors import Unreachable
from upkeep.hosts.answer import Answer
from upkeep.hosts.bootstrap import READY, Call
from upkeep.hosts.feed import Feed
from upkeep.hosts.refusal import explain_silence, password_refused
from upkeep.hosts.ssh_link import SshLink
from upkeep.hosts.stopwatch import Stopwatch

_READ_BYTES = 4_194_304  # more than a window: taking all at once spares paramiko moving the rest
_LOOK_SECONDS = 0.5
_LINGER_SECONDS = 1.0
_SEND_SECONDS = 1.0
_CLOSE_SECONDS = 3.0
KILLED_BY_SIGNAL = 255


class Doorbell(threading.Event):
    """Rung by paramiko for either stream; only the reader silences it, or one stream would silence the other."""

    def clear(self) -> None:
        """Do nothing: paramiko calls this whenever one of the streams has been read empty."""

    def silence(self) -> None:
        """Wait for the next ring."""
        super().clear()


class Stdin:
    """A channel's standard input as a `Wire`."""

    def __init__(self, channel: paramiko.Channel, bell: Doorbell) -> None:
        self._channel, self._bell, self._held_back_bytes = channel, bell, 0
        channel.settimeout(_SEND_SECONDS)

    def hold_back(self, on_its_way_bytes: int) -> None:
        """Have no more than that on its way: sshd copies all that waits for a script whenever more comes, up to a window of 2 MB."""
        with self._channel.lock:
            self._held_back_bytes = max(0, self._channel.out_window_size - on_its_way_bytes)
            self._channel.out_window_size -= self._held_back_bytes

    def _let_go(self) -> None:
        """Nothing moved for a while: a server may tell of room only when most of its window is used."""
        with self._channel.lock:
            self._channel.out_window_size += self._held_back_bytes
            self._held_back_bytes = 0

    def send(self, piece: memoryview) -> None:
        """Send all of `piece`, as the host's window allows."""
        while piece:
            try:
                sent = self._channel.send(piece)  # type: ignore[arg-type] # the stubs don't know that a memoryview will do
            except TimeoutError:
                self._let_go()
                continue
            except (paramiko.SSHException, EOFError) as error:
                raise BrokenPipeError from error
            if not sent:
                raise BrokenPipeError
            piece = piece[sent:]

    def finish(self) -> None:
        """End of file."""
        try:
            self._channel.shutdown_write()
        except (paramiko.SSHException, EOFError) as error:
            raise BrokenPipeError from error

    def abort(self) -> None:
        """Wake the reader, which finds the error."""
        self._bell.set()


class SshSession:
    """A channel that runs one call. `run` may be called once; `close` always has to be."""

    def __init__(self, link: SshLink, channel: paramiko.Channel, call: Call, answer: Answer) -> None:
        self._link, self._channel, self._call, self._answer = link, channel, call, answer
        self._bell = Doorbell()
        channel.in_buffer.set_event(self._bell)
        channel.in_stderr_buffer.set_event(self._bell)

    def start(self) -> None:
        """Ask the host to execute the command; nothing of the script has been sent when this fails.

        Raises:
            SSHException, EOFError: the host refused, or the connection broke.
        """
        self._channel.exec_command(self._call.command)

    def run(self, feed: Callable[[Stdin], Feed], watch: Stopwatch) -> int:
        """Send everything, read everything; the script's exit code.

        Raises:
            CommandTimeout: a limit passed.
            Unreachable: the connection broke; the script may have run.
            PrivilegeRefused, LoginRefused, GarbledOutput: the script never began.
        """
        stdin = Stdin(self._channel, self._bell)
        stdin.hold_back(self._link.on_its_way_bytes)
        writer = feed(stdin)
        writer.start()
        try:
            self._listen(writer, watch)
        finally:
            self.close()
            writer.stop()
        writer.raise_error()
        return self._exit_code()

    def close(self) -> None:
        """Hang up the channel; the connection stays unless even that takes too long."""
        if self._channel.closed:
            return
        with self._link.no_longer_than(_CLOSE_SECONDS):
            self._channel.close()

    def _listen(self, writer: Feed, watch: Stopwatch) -> None:
        give_up = float("inf")
        while True:
            self._bell.silence()
            ended, complete = self._channel.exit_status_ready(), self._channel.closed or self._channel.eof_received
            moved = self._take(watch)
            writer.raise_error()
            self._tend_password(writer)
            if ended and give_up == float("inf"):
                give_up = time.monotonic() + _LINGER_SECONDS
            if not moved and ended and (complete or time.monotonic() >= give_up):
                return
            watch.check()
            self._wait(watch, moved=moved)

    def _wait(self, watch: Stopwatch, *, moved: bool) -> None:
        if not moved:
            self._bell.wait(min(watch.left(), _LOOK_SECONDS))

    def _take(self, watch: Stopwatch) -> bool:
        moved = False
        if self._channel.recv_ready():
            self._stdout(self._channel.recv(_READ_BYTES))
            moved = True
        if self._channel.recv_stderr_ready():
            self._stderr(self._channel.recv_stderr(_READ_BYTES))
            moved = True
        if moved:
            watch.touch()
        return moved

    def _stdout(self, piece: bytes) -> None:
        self._answer.stdout(piece)

    def _stderr(self, piece: bytes) -> None:
        self._answer.stderr(piece)

    def _tend_password(self, writer: Feed) -> None:
        if not self._call.password_line.get_secret_value():
            return
        if self._answer.started or READY in self._answer.out.noise:
            writer.ready()
        elif password_refused(self._answer):
            raise explain_silence(self._link.target.name, self._call, self._answer, 1)

    def _exit_code(self) -> int:
        host, code = self._link.target.name, self._channel.exit_status
        if not self._link.alive and not self._channel.eof_received:
            began = "while the script ran" if self._answer.started else "before the script began"
            raise Unreachable(
                host, f"the connection broke {began}", remedy="look at the host; what the script did so far is unknown"
            )
        code = KILLED_BY_SIGNAL if code < 0 else code
        if not self._answer.started:
            raise explain_silence(host, self._call, self._answer, code)
        return code
