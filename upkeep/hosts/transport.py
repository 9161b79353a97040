"""The seam between Upkeep and a machine: one script in, one reply out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

MAX_OUTPUT_BYTES = 1_048_576


@dataclass(frozen=True)
class Limits:
    """How long and how much: `total` for the whole script, `idle` between two pieces of output, output kept in memory in bytes."""

    total: timedelta = timedelta(seconds=120)
    idle: timedelta = timedelta(seconds=60)
    output_bytes: int = MAX_OUTPUT_BYTES


@dataclass(frozen=True)
class Reply:
    """What a script printed. `stdout` begins at the script's own first byte: noise of login files is cut off by the transport."""

    exit_code: int
    stdout: bytes
    stderr: str
    seconds: float
    truncated: bool = False

    @property
    def text(self) -> str:
        """Standard output as text, CRLF folded to LF, undecodable bytes replaced."""
        return self.stdout.decode("utf-8", "replace").replace("\r\n", "\n")


class Transport(Protocol):
    """One host's kept connection. Implementations: `upkeep.hosts.ssh.SshTransport`, `upkeep.hosts.fake.FakeTransport`."""

    host: str

    def run(
        self,
        script: str,
        *,
        become: bool = False,
        stdin: Iterable[bytes] = (),
        sink: Callable[[bytes], None] | None = None,
        limits: Limits | None = None,
    ) -> Reply:
        """Run a POSIX `sh` script and wait for its end.

        The script is executed by /bin/sh with LC_ALL=C, HOME untouched, as root when `become` says so and the login is not root.
        `stdin` is streamed to the script afterwards (the script reads exactly these bytes, then end of file).
        With `sink`, standard output goes there piece by piece instead of into `Reply.stdout`.

        A non-zero exit code is a reply, not an error.

        Raises:
            Unreachable, HostKeyRejected, LoginRefused: no connection.
            PrivilegeRefused: sudo refused.
            CommandTimeout: a limit passed; the remote script is hung up on.
        """
        ...

    def rest(self) -> bool:
        """End the connection unless a script runs, in which case nothing happens and the answer is no; the next script opens it again."""
        ...

    def close(self) -> None:
        """End the connection; safe to call twice."""
        ...
