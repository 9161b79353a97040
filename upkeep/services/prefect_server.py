"""A Prefect server of this process' own for runs where none is configured: it starts beside the imports and ends with this process."""

from __future__ import annotations

import atexit
import functools
import os
import select
import socket
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from upkeep.errors import ServiceError, shorten

GO, READY = b"g", b"r"
END_SECONDS = 5.0
_LOG_BYTES = 256 * 1024
_LIKE_PREFECTS_OWN = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_LOGGING_LEVEL": "ERROR",
}


class OwnServer:
    """A server on a free port of 127.0.0.1 in a process of its own; both ends of one socket pair tell each other of their death."""

    def __init__(self, log: Path) -> None:
        """Start the process: it loads what it needs, and touches nothing until `go`.

        Raises:
            OSError: its log cannot be written, or no process be made.
        """
        self._log = log
        self._gone_ahead = False
        self._serves = False
        self._pair, theirs = socket.socketpair()
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        descriptors = (theirs.fileno(), listener.fileno())
        # A group of its own: Ctrl-C at the terminal is for the run, which still needs its server to finish the hosts in work.
        with theirs, listener, _appended(log) as output:
            self._before = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "upkeep.services.serving_prefect", *map(str, descriptors)],
                pass_fds=descriptors,
                env={**os.environ, **_LIKE_PREFECTS_OWN},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        atexit.register(self.stop)

    def go(self) -> None:
        """Let it open its database and serve."""
        self._gone_ahead = True
        try:
            self._pair.send(GO)
        except OSError:  # it is dead already; `wait` says so
            return

    def wait(self, seconds: float) -> None:
        """Until it answers.

        Raises:
            ServiceError: it ended, or took longer.
        """
        if self._serves:
            return
        answered, _, _ = select.select([self._pair], [], [], seconds)
        self._serves = bool(answered) and self._heard() == READY
        if self._serves:
            return
        how = "ended at its start" if answered else f"did not answer within {seconds:.0f} s"
        self.stop()
        raise ServiceError(
            f"the Prefect server of this run {how}{self._last_line()}; no host was changed; its log: {self._log}; "
            "do: what the log asks for, or set PREFECT_API_URL to a Prefect server (upkeep up starts one)"
        )

    def stop(self) -> None:
        """End it: what it was told is written first, for at most 5 s; where it serves nothing yet, at once."""
        self._pair.close()
        if not self._gone_ahead:
            self._process.kill()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _heard(self) -> bytes:
        try:
            return self._pair.recv(1)
        except OSError:
            return b""

    def _last_line(self) -> str:
        try:
            written = self._log.read_bytes()[self._before :].decode(errors="replace")
        except OSError:
            return ""
        said = [line for line in written.split("\n") if line.strip()]
        return f": {shorten(said[-1])}" if said else ""


@functools.cache
def own_prefect_server(home: Path) -> OwnServer | None:
    """This process' one, loading from now on; None where Prefect would not start one, or no log can be kept in `home`."""
    if not none_configured():
        return None
    try:
        return OwnServer(home / "prefect-server.log")
    except OSError:
        return None


def none_configured(environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> bool:
    """Whether Prefect would have to start a server of its own; where that would take reading all of Prefect's settings: False."""
    folder = folder or Path.cwd()
    told = {"PREFECT_API_URL", "PREFECT_SERVER_EPHEMERAL_ENABLED", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"}
    if "prefect" in sys.modules or told & {key for key, value in environ.items() if value}:
        return False
    if (folder / "prefect.toml").exists() or _mentions(folder / "pyproject.toml") or _mentions(folder / ".env"):
        return False
    home = Path(environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    profiles = Path(environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    return _local_profile(profiles, environ.get("PREFECT_PROFILE", ""))


def _local_profile(file: Path, named: str) -> bool:
    if not file.exists():
        return named in {"", "ephemeral"}
    try:
        known = tomllib.loads(file.read_text())
    except (OSError, ValueError):
        return False
    name = named or known.get("active", "ephemeral")
    profile = known.get("profiles", {}).get(name)
    return name == "ephemeral" if profile is None else not any("API" in key or "EPHEMERAL" in key for key in profile)


def _mentions(file: Path) -> bool:
    try:
        text = file.read_text(errors="replace").lower()
    except OSError:
        return False
    return "tool.prefect" in text if file.suffix == ".toml" else "prefect_" in text


def _appended(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    output = os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
    if output.tell() > _LOG_BYTES:
        output.truncate(0)
        output.seek(0)
    return output
