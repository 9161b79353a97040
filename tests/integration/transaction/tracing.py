"""What a script really asks of the kernel: the order of writes, syncs and renames, as strace sees them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from upkeep.hosts.bootstrap import BOOTSTRAP
from upkeep.hosts.local import LocalTransport

_CALLS = "fsync,syncfs,rename,renameat,renameat2,link,linkat,symlink,symlinkat,write"
_LINE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<rest>.*)$")
_RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)$")
_CUT = " <unfinished ...>"
_TRACER = ("strace", "-f", "-D", "-y", "-qq", "-s", "24", "-e", f"trace={_CALLS}", "-e", "signal=none", "-o")


@dataclass(frozen=True)
class Event:
    """One call that succeeded: `path` is what was written, synced or made, `source` what was renamed or linked to."""

    call: str
    path: str
    source: str = ""
    text: str = ""


class TracedTransport(LocalTransport):
    """Scripts on this machine under strace, which stays behind with whatever a script leaves running; a trace for each script."""

    def __init__(self, host: str, env: Mapping[str, str], folder: Path) -> None:
        super().__init__(host, env=env)
        self._folder = folder

    def events(self) -> list[Event]:
        """The calls that succeeded, in the order in which they ended."""
        traces = sorted(self._folder.iterdir(), key=lambda path: int(path.name))
        return [event for trace in traces for line in _whole_lines(trace) if (event := _event(line))]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*_TRACER, self._folder / str(len(list(self._folder.iterdir()))), "/bin/sh", "-c", BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._env,
            bufsize=0,
            start_new_session=True,
        )


def why_not() -> str:
    """Why nothing can be traced here; empty when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed; do: ./setup.sh machines, as root"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"strace is not let: {tried.stderr.strip()[-200:]}"


def _whole_lines(trace: Path) -> Iterator[str]:
    begun: dict[str, str] = {}
    for line in trace.read_text("utf-8", "replace").splitlines():
        if line.endswith(_CUT):
            begun[line.split(" ", 1)[0]] = line.removesuffix(_CUT)
        elif resumed := _RESUMED.match(line):
            yield begun.pop(resumed["pid"], "") + resumed["rest"]
        else:
            yield line


def _event(line: str) -> Event | None:
    found = _LINE.match(line)
    if not found or not re.search(r"\) += \d+$", line):
        return None
    call, rest = found["call"], found["rest"]
    if call in {"fsync", "syncfs", "write"}:
        path, text = re.match(r"\d+<([^>]*)>", rest), re.search(r'"(.*?)"', rest)
        return Event(call, path[1], text=text[1] if text else "") if path else None
    source, path = re.findall(r'"([^"]*)"', rest)[:2]
    return Event(re.sub(r"(at|at2)$", "", call), path, source)
