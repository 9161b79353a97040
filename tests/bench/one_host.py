"""What one host's change costs that host, script by script: the real tasks through a local shell, with CPU, processes and programs.

`python -m tests.bench.one_host [--repeat 3] [--programs]`; the second pass, under strace, counts processes and is not timed.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.change_host import change_host
from tasks.check_host import look
from tasks.prepare_run import open_session, prepare
from tests.bench import documents
from tests.bench.hosts import Fleet
from upkeep.domain.change import HostOutcome
from upkeep.domain.record import RunRequest
from upkeep.hosts.bootstrap import BOOTSTRAP
from upkeep.hosts.local import LocalTransport
from upkeep.hosts.ssh_target import SshTarget
from upkeep.hosts.transport import Limits, Reply, Transport
from upkeep.settings import Settings
from upkeep.wiring import Site

_STARTED = re.compile(r'execve\("([^"]*)".* = 0$', re.MULTILINE)
_FORKED = re.compile(r"(?:clone3?|v?fork)\b.* = \d+$", re.MULTILINE)


@dataclass
class Script:
    """One script: what it was, and what it cost."""

    name: str
    cpu_ms: float
    forks: int = 0
    programs: Counter[str] = field(default_factory=Counter)


class MeasuredTransport(LocalTransport):
    """Notes what every script costs; with a folder, strace counts what it starts."""

    def __init__(self, host: str, env: Mapping[str, str], traces: Path | None) -> None:
        super().__init__(host, env=env)
        self.scripts: list[Script] = []
        self._traces = traces

    def run(
        self,
        script: str,
        *,
        become: bool = False,
        stdin: Iterable[bytes] = (),
        sink: Callable[[bytes], None] | None = None,
        limits: Limits | None = None,
    ) -> Reply:
        """As a local transport runs it."""
        before = _children_cpu()
        reply = super().run(script, become=become, stdin=stdin, sink=sink, limits=limits)
        done = Script(_name(script), 1000 * (_children_cpu() - before))
        if self._traces:
            text = self._trace().read_text("utf-8", "replace")
            done.forks = len(_FORKED.findall(text))
            done.programs = Counter(Path(name).name for name in _STARTED.findall(text))
        self.scripts.append(done)
        return reply

    def _trace(self) -> Path:
        return (self._traces or Path()) / str(len(self.scripts))

    def _start(self) -> subprocess.Popen[bytes]:
        if self._traces is None:
            return super()._start()
        words = ["strace", "-f", "-D", "-qq", "-e", "trace=execve,clone,clone3,fork,vfork", "-e", "signal=none"]
        return subprocess.Popen(
            [*words, "-o", self._trace(), "/bin/sh", "-c", BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._env,
            bufsize=0,
            start_new_session=True,
        )


class LocalSite(Site):
    """A controller whose one host is this machine."""

    def over(self, transport: Transport) -> None:
        self._transport = transport

    def transport(self, target: SshTarget) -> Transport:
        """The local shell."""
        return self._transport


def one_change(fleet: Fleet, folder: Path, traces: Path | None = None) -> list[Script]:
    """Change the host as a run does, and look whether it was done.

    Raises SystemExit when the host is not as it should be.
    """
    fleet.reset()
    shutil.rmtree(fleet.folder / "home", ignore_errors=True)
    host = fleet.hosts[0]
    env = {
        "PATH": f"{fleet.folder}/bin:{os.environ['PATH']}",
        "SSH_CONNECTION": f"127.0.0.1 1 {host.address} {fleet.port}",
    }
    transport = MeasuredTransport(host.address, env, traces)
    site = LocalSite(Settings.from_environment({"UPKEEP_HOME": str(folder), "UPKEEP_SSH_CONFIG": "/dev/null"}))
    site.over(transport)
    inventory, plan = documents.write(fleet)
    session = open_session(site, prepare(site, "maintenance", RunRequest(inventory=str(inventory), plan=str(plan))))
    try:
        look(session, host.address)
        changed = change_host.fn(session, host.address, "canary")
    finally:
        session.close()
        site.history.close()
    if changed.result.outcome is not HostOutcome.COMMITTED or fleet.changed(upkeep=True):
        raise SystemExit(f"bench: {changed.result.outcome}: {changed.result.reason}; {fleet.changed(upkeep=True)}")
    return transport.scripts


def table(runs: list[list[Script]], traced: list[Script], *, programs: bool) -> str:
    """A line for every script: medians of CPU, and what it started."""
    lines = [f"{'script':34} {'CPU ms':>7} {'processes':>10} {'programs':>9}"]
    for number, script in enumerate(traced):
        cpu = statistics.median(run[number].cpu_ms for run in runs)
        lines.append(f"{script.name:34} {cpu:7.0f} {script.forks:10} {script.programs.total():9}")
        if programs:
            lines.append("    " + ", ".join(f"{count} {name}" for name, count in script.programs.most_common()))
    total = statistics.median(sum(script.cpu_ms for script in run) for run in runs)
    forks, started = sum(s.forks for s in traced), sum(s.programs.total() for s in traced)
    return "\n".join([*lines, f"{f'{len(traced)} scripts':34} {total:7.0f} {forks:10} {started:9}"])


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _name(script: str) -> str:
    phases = re.findall(r"^phase_(\w+)", script, re.MULTILINE)
    if phases:
        return ", ".join(phases[-1:])
    asked = len(re.findall(r"^ask \d", script, re.MULTILINE))
    return f"questions ({asked} of their own)" if asked else "watch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--programs", action="store_true", help="name the programs that each script starts")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/upkeep-one-host"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Fleet(asked.folder, 1) as fleet:
        home, traces = Path(scratch, "home"), Path(scratch, "traces")
        traces.mkdir()
        runs = []
        for _ in range(asked.repeat):
            runs.append(one_change(fleet, home))
            shutil.rmtree(home)
        sys.stdout.write(table(runs, one_change(fleet, home, traces), programs=asked.programs) + "\n")


if __name__ == "__main__":
    main()
