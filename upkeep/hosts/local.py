"""Runs scripts on this machine, through the same bootstrap and under the same limits as over SSH."""

from __future__ import annotations

import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from upkeep.hosts.answer import Answer
from upkeep.hosts.bootstrap import BOOTSTRAP, encode_call
from upkeep.hosts.feed import Feed
from upkeep.hosts.refusal import explain_silence
from upkeep.hosts.stopwatch import Stopwatch
from upkeep.hosts.transport import Limits, Reply

_READ_BYTES = 65_536
_LINGER_SECONDS = 1.0
_HANGUP_SECONDS = 2.0
_WRITE_MILLISECONDS = 200


class LocalTransport:
    """Scripts on this machine as the user Upkeep runs as; `become` changes nothing. `env` is laid over this process's environment."""

    def __init__(self, host: str = "local", env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        self.host = host
        self._env = {**os.environ, **(env or {})}
        self._cwd = cwd

    def run(
        self,
        script: str,
        *,
        become: bool = False,  # noqa: ARG002 - part of the protocol
        stdin: Iterable[bytes] = (),
        sink: Callable[[bytes], None] | None = None,
        limits: Limits | None = None,
    ) -> Reply:
        """Run `script` in a process group of its own; see `Transport.run`.

        Raises:
            CommandTimeout: a limit passed; the whole process group is hung up on.
            GarbledOutput: the shell ended before the script began.
        """
        limits = limits or Limits()
        call, watch = encode_call(script), Stopwatch(self.host, limits)
        answer = Answer(call.nonce, limits.output_bytes, sink)
        with self._start() as process:
            feed = Feed(call, stdin, _Stdin(process), watch)
            try:
                feed.start()
                _listen(process, answer, watch)
            finally:
                _end(process)
                feed.stop()
        feed.raise_error()
        if not answer.started:
            raise explain_silence(self.host, call, answer, process.returncode)
        return answer.reply(_exit_code(process.returncode), watch.seconds)

    def rest(self) -> bool:
        """Nothing is kept open."""
        return True

    def close(self) -> None:
        """Nothing is kept open."""

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._env,
            cwd=self._cwd,
            bufsize=0,
            start_new_session=True,
        )


class _Stdin:
    """A process's standard input as a `Wire`; a child left behind may hold it open without reading, so no write blocks."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process, self._pipe = process, _pipe(process.stdin)
        os.set_blocking(self._pipe.fileno(), False)
        self._room = select.poll()  # select() itself knows only the first 1,024 files of a process
        self._room.register(self._pipe, select.POLLOUT)

    def send(self, piece: memoryview) -> None:
        """Write all of `piece` while the process lives."""
        while piece:
            if self._process.returncode is not None or self._pipe.closed:
                raise BrokenPipeError
            if self._room.poll(_WRITE_MILLISECONDS):
                piece = piece[os.write(self._pipe.fileno(), piece) :]

    def finish(self) -> None:
        """End of file."""
        self._pipe.close()

    def abort(self) -> None:
        """End the process before it can take the end of its input for a whole one."""
        _signal_group(self._process, signal.SIGKILL)


def _listen(process: subprocess.Popen[bytes], answer: Answer, watch: Stopwatch) -> None:
    takers: dict[int, Callable[[bytes], None]] = {
        _pipe(process.stdout).fileno(): answer.stdout,
        _pipe(process.stderr).fileno(): answer.stderr,
    }
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            for fd in (*takers, ended):
                selector.register(fd, selectors.EVENT_READ)
            _take_all(selector, takers, ended, watch)
    finally:
        os.close(ended)


def _take_all(
    selector: selectors.BaseSelector, takers: dict[int, Callable[[bytes], None]], ended: int, watch: Stopwatch
) -> None:
    """Read until the process and both streams end; a child it left behind may hold them open, and is given a short while."""
    running, give_up = True, float("inf")
    while running or (takers and time.monotonic() < give_up):
        watch.check()
        for key, _ in selector.select(min(watch.left(), max(0.0, give_up - time.monotonic()))):
            if key.fd == ended:
                selector.unregister(ended)
                running, give_up = False, time.monotonic() + _LINGER_SECONDS
            elif piece := os.read(key.fd, _READ_BYTES):
                watch.touch()
                takers[key.fd](piece)
            else:
                selector.unregister(key.fd)
                del takers[key.fd]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Hang up on a script that still runs and on its children, first politely."""
    if process.poll() is None:
        _signal_group(process, signal.SIGHUP)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_HANGUP_SECONDS)
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _exit_code(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        message = "the process was started without pipes"
        raise RuntimeError(message)
    return stream
