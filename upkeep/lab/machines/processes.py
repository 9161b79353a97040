"""Processes outside: told apart from later ones with the same id, found by parent."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from upkeep.errors import ServiceError, shorten

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process by id and start time."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has `pid` now; already ended ones never live."""
        stat = _stat(pid)
        return cls(pid, int(stat[19]) if stat else -1)

    @classmethod
    def load(cls, path: Path) -> Process | None:
        """The process written to `path`, if it still lives."""
        if not path.exists():
            return None
        process = cls(**json.loads(path.read_text("utf-8")))
        return process if process.lives else None

    def save(self, path: Path) -> None:
        """Write it down for `load`."""
        path.write_text(json.dumps({"pid": self.pid, "start_ticks": self.start_ticks}), encoding="utf-8")

    @property
    def lives(self) -> bool:
        """Whether it still is there, and not as a zombie."""
        stat = _stat(self.pid)
        return bool(stat) and stat[0] != "Z" and int(stat[19]) == self.start_ticks


def child_of(pid: int | None, commands: Collection[str]) -> int | None:
    """The living child of `pid` whose command name is one of `commands`."""
    if pid is None:
        return None
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        stat = _stat(int(entry.name))
        if stat and stat[1] == str(pid) and stat[0] != "Z" and _command(entry) in commands:
            return int(entry.name)
    return None


def call(argv: Sequence[str | Path], *, text: str | None = None) -> str:
    """Run a program of this computer with `text` on standard input; give its output.

    Raises:
        ServiceError: it is missing or ended with a code other than 0.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=text or "", capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ServiceError(f"{words[0]} is not installed; do: make machines-setup, as root") from error
    if done.returncode:
        raise ServiceError(f"{' '.join(words[:6])} ended with {done.returncode}: {shorten(done.stderr or done.stdout)}")
    return done.stdout


def attempt(argv: Sequence[str | Path]) -> bool:
    """Run a program whose failure does not matter; whether it ended with 0."""
    words = [str(word) for word in argv]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def spawn(words: list[str], environment: Mapping[str, str], output: Path) -> int:
    """Start a program that outlives this one, in a session of its own; its process id."""
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), appending, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawnp(words[0], words, environment, file_actions=files, setsid=True)


def reap(path: Path) -> None:
    """Forget the ended process written to `path`; takes its exit status if it was a child of this process."""
    if path.exists():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(json.loads(path.read_text("utf-8"))["pid"], os.WNOHANG)
        path.unlink()


def _stat(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def _command(entry: Path) -> str:
    try:
        return (entry / "comm").read_text().strip()
    except OSError:
        return ""
