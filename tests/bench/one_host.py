"""What one host's change costs that host, script by script: the real tasks through a local shell, with CPU, processes and programs.

`python -m tests.bench.one_host [--repeat 3] [--programs]`; the second pass, under strace, counts processes and is not timed.
With `--ssh` the same over a real sshd: CPU of the host in all (sshd included) and of the controller (history included, no Prefect).
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
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.change_host import change_host
from tasks.check_host import look
from tasks.prepare_run import open_session, prepare
from tasks.session import RunSession
from tests.bench import documents
from tests.bench.hosts import Fleet
from tests.bench.measure import LEFT_BEHIND_SECONDS, adopt_orphans, reap
from upkeep.domain.change import HostOutcome
from upkeep.domain.record import RunRequest
from upkeep.hosts.bootstrap import BOOTSTRAP
from upkeep.hosts.local import LocalTransport
from upkeep.hosts.ssh_target import SshTarget
from upkeep.hosts.transport import Limits, Reply, Transport
from upkeep.settings import Settings
from upkeep.wiring import Site

_STARTED = re.compile(r'execve\("([^"]*)".*(?: = 0|<unfinished \.\.\.>)$', re.MULTILINE)
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
    """Change the host through a local shell; every script that it took.

    Raises SystemExit when the host is not as it should be.
    """
    host = fleet.hosts[0]
    env = {
        "PATH": f"{fleet.folder}/bin:{os.environ['PATH']}",
        "SSH_CONNECTION": f"127.0.0.1 1 {host.address} {fleet.port}",
    }
    transport = MeasuredTransport(host.address, env, traces)
    site = LocalSite(_settings(folder))
    site.over(transport)
    with changing(fleet, site) as session:
        _change(session, host.address)
    return transport.scripts


def over_ssh(fleet: Fleet, folder: Path) -> tuple[float, float]:
    """The same over SSH on every host of the fleet; CPU of one host and of the controller for it, in ms."""
    with changing(fleet, Site(_settings(folder))) as session:
        reap()
        host_before, own_before = fleet.cpu_seconds(), time.process_time()
        for host in fleet.hosts:
            _change(session, host.address)
        session.close()
        own = time.process_time() - own_before
        fleet.await_quiet()
        time.sleep(LEFT_BEHIND_SECONDS)
        used = fleet.cpu_seconds() + reap() - host_before
    return 1000 * used / len(fleet.hosts), 1000 * own / len(fleet.hosts)


@contextmanager
def changing(fleet: Fleet, site: Site) -> Iterator[RunSession]:
    """A run over the fleet as it was before any change; afterwards every host is looked at."""
    fleet.reset()
    inventory, plan = documents.write(fleet)
    session = open_session(site, prepare(site, "maintenance", RunRequest(inventory=str(inventory), plan=str(plan))))
    try:
        yield session
    finally:
        session.close()
        site.history.close()
    if bad := fleet.changed(upkeep=True):
        raise SystemExit(f"bench: not changed: {bad[0]}")


def _change(session: RunSession, host: str) -> None:
    look(session, host)
    result = change_host.fn(session, host, "canary").result
    if result.outcome is not HostOutcome.COMMITTED:
        raise SystemExit(f"bench: {result.outcome}: {result.reason}")


def _settings(home: Path) -> Settings:
    return Settings.from_environment({"UPKEEP_HOME": str(home), "UPKEEP_SSH_CONFIG": "/dev/null"})


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
    together = re.search(r"^ask_(?:together|beside) \d", script, re.MULTILINE)
    return f"questions ({asked} of their own)" if asked or together else "watch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--programs", action="store_true", help="name the programs that each script starts")
    parser.add_argument("--ssh", action="store_true", help="over a real sshd, in all")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/upkeep-one-host"))
    asked = parser.parse_args()
    adopt_orphans()
    with tempfile.TemporaryDirectory() as scratch, Fleet(asked.folder, asked.repeat if asked.ssh else 1) as fleet:
        if asked.ssh:
            host, own = over_ssh(fleet, Path(scratch, "home"))
            sys.stdout.write(
                f"{asked.repeat} hosts one after the other: {host:.0f} ms on the host, {own:.0f} ms here\n"
            )
            return
        home, traces = Path(scratch, "home"), Path(scratch, "traces")
        traces.mkdir()
        runs = []
        for _ in range(asked.repeat):
            runs.append(one_change(fleet, home))
            shutil.rmtree(home)
        sys.stdout.write(table(runs, one_change(fleet, home, traces), programs=asked.programs) + "\n")


if __name__ == "__main__":
    main()
