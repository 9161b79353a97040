"""The SSH side of a lab host: only the lab's key gets in, every command runs under /bin/sh in the host's own directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import asyncssh

from upkeep.lab.service import signal_group
from upkeep.lab.spec import USER

CHUNK_BYTES = 128 * 1024


class SshHost:
    """Serves SSH connections of one host."""

    def __init__(
        self, *, root: Path, host_key: Path, client_key: asyncssh.SSHKey, environment: Mapping[str, str]
    ) -> None:
        self.root, self.environment = root, dict(environment)
        self._client_key = client_key.public_data
        self._options = asyncssh.SSHServerConnectionOptions(
            server_factory=self._login,
            server_host_keys=[str(host_key)],
            process_factory=self._session,
            encoding=None,
            line_editor=False,
            compression_algs=None,
            login_timeout=30,
            keepalive_interval=0,
        )

    async def welcome(self, connection: socket.socket) -> None:
        """Serve one connection until it ends."""
        with contextlib.suppress(OSError, asyncssh.Error):
            served = await asyncssh.run_server(connection, options=self._options)
            await served.wait_closed()

    def _login(self) -> asyncssh.SSHServer:
        return _Login(self._client_key)

    async def _session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run one command; its process group ends with the channel, detached sessions live on."""
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            *(["-c", process.command] if process.command is not None else ["-s"]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.root,
            env={**self.environment, **_passed_on(process.env)},
            start_new_session=True,
            limit=CHUNK_BYTES,
        )
        gone = asyncio.create_task(process.channel.wait_closed())
        done = asyncio.create_task(_carry(process, child))
        await asyncio.wait({gone, done}, return_when=asyncio.FIRST_COMPLETED)
        if done.done() and not done.cancelled() and done.exception() is None:
            _say_how_it_ended(process, done.result())
        else:
            done.cancel()
            await _hang_up(child)
        gone.cancel()


class _Login(asyncssh.SSHServer):
    """Accepts one key for one user."""

    def __init__(self, client_key: bytes) -> None:
        self._client_key = client_key

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key.public_data == self._client_key


def _passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key == "LANG" or key.startswith("LC_")}


async def _carry(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> int:
    """Carry the three streams until the command has ended and nobody holds its output any more; its return code."""
    feeding = asyncio.create_task(_feed(process, child))
    try:
        await asyncio.gather(_drain(child.stdout, process.stdout), _drain(child.stderr, process.stderr))
        return await child.wait()
    finally:
        feeding.cancel()


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    if child.stdin is None:
        return
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await process.stdin.read(CHUNK_BYTES):
            child.stdin.write(data)
            await child.stdin.drain()
    child.stdin.close()


async def _drain(source: asyncio.StreamReader | None, sink: asyncssh.SSHWriter[bytes]) -> None:
    if source is None:
        return
    while data := await source.read(CHUNK_BYTES):
        sink.write(data)
        await sink.drain()


def _say_how_it_ended(process: asyncssh.SSHServerProcess[bytes], code: int) -> None:
    if code < 0:
        process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
    else:
        process.exit(code)


async def _hang_up(child: asyncio.subprocess.Process) -> None:
    signal_group(child.pid, signal.SIGHUP)
    ended = asyncio.create_task(child.wait())
    _, alive = await asyncio.wait({ended}, timeout=1)
    signal_group(child.pid, signal.SIGKILL)
    if alive:
        await ended


def host_environment(*, root: Path, stand_ins: Path, lab_id: str) -> dict[str, str]:
    """What commands and services of a host find in their environment; `UPKEEP_LAB` marks them as the lab's."""
    path = f"{stand_ins}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    names = {"USER": USER, "LOGNAME": USER, "SHELL": "/bin/sh", "UPKEEP_LAB": lab_id}
    return {"PATH": path, "HOME": str(root), "TMPDIR": os.environ.get("TMPDIR", "/tmp"), **names}  # noqa: S108 - as on any host
