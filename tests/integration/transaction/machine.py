"""A host in a folder: an agent that really runs, a systemctl that really starts it, and the transaction over it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shlex
import signal
import stat
import subprocess
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from upkeep.domain.profile import AgentProfile
from upkeep.hosts.host_change import HostChange, Order
from upkeep.hosts.local import LocalTransport
from upkeep.services.kept_binaries import KeptBinaries

_SYSTEMCTL = r"""#!/bin/sh
# A systemctl for one unit: the agent runs as a process of its own session.
home=@HOME@
agent=@AGENT@
pid() { cat "$home/pid" 2>/dev/null || echo 0; }
alive() {
    read -r stat 2>/dev/null <"/proc/$(pid)/stat" || return 1
    set -- ${stat##*) }
    [ "$1" != Z ]
}
stop() {
    ! alive || kill -TERM "$(pid)" 2>/dev/null
    while alive; do sleep 0.02; done
    rm -f "$home/pid" "$home/running"
    echo inactive >"$home/state"
}
start() {
    rm -f "$home/running"
    setsid "$agent" run >>"$home/log" 2>&1 </dev/null &
    echo $! >"$home/pid"
    while [ ! -s "$home/running" ]; do
        alive || { echo failed >"$home/state"; return 1; }
        sleep 0.02
    done
    echo active >"$home/state"
}
state() {
    [ "$(cat "$home/state" 2>/dev/null)" = active ] && ! alive && echo failed >"$home/state"
    cat "$home/state" 2>/dev/null || echo inactive
}
echo "$*" >>"$home/calls"
case $1 in
show) printf 'LoadState=loaded\nActiveState=%s\nSubState=x\nResult=success\nNRestarts=0\nMainPID=%s\nFragmentPath=\nDropInPaths=\n' "$(state)" "$(pid)" ;;
is-active) state; [ "$(state)" = active ] ;;
restart) stop; start ;;
start) alive || start ;;
stop) stop ;;
reset-failed) ;;
*) exit 1 ;;
esac
"""

_AGENT = """#!/bin/sh
# agent {version}
root={root}
case $1 in
--check) exec grep -q 'for={wants}' "$root/etc/agent/agent.conf" ;;
esac
{start}
echo {version} >"$root/systemd/running"
exec sleep 3000
"""

CONFIG = "for=any\nlisten=8080\n"
_FILES = (
    ("etc/agent/agent.conf", CONFIG, 0o640),
    ("etc/agent-keys/key.pem", "key", 0o600),
    ("var/lib/agent/data", "old", 0o644),
)


@dataclass
class Machine:
    """One host in `root`, and how a run would work on it."""

    root: Path
    profile: AgentProfile
    archives: dict[str, bytes] = field(default_factory=dict)

    @property
    def binary(self) -> Path:
        return Path(self.profile.paths.binary)

    @property
    def upkeep(self) -> Path:
        return Path(self.profile.paths.upkeep)

    @property
    def config(self) -> Path:
        return self.root / "etc/agent/agent.conf"

    @property
    def state_file(self) -> Path:
        return self.root / "var/lib/agent/data"

    def change(self, *first_on_path: Path, **env: str) -> HostChange:
        """The transaction, with folders that come first on the host's PATH."""
        path = ":".join(map(str, (*first_on_path, self.root / "bin", os.environ["PATH"])))
        return HostChange(LocalTransport("h1", env={**env, "PATH": path}), self.profile, become=False)

    def running(self) -> str:
        """The version of the process that runs; empty when none does."""
        pid, version = self.root / "systemd/pid", self.root / "systemd/running"
        if not pid.exists() or not version.exists() or not Path(f"/proc/{pid.read_text().strip()}").exists():
            return ""
        return version.read_text().strip()

    def order(self, version: str = "2.0.0", **changed: Any) -> Order:
        archive = self.archives[version]
        order = Order(
            run="run-1",
            owner="ada",
            reason="upgrade",
            fence=0,
            from_version="1.0.0",
            to_version=version,
            artifact_sha256=hashlib.sha256(archive).hexdigest(),
            artifact_size_bytes=len(archive),
            lease=timedelta(minutes=10),
            dead_man=timedelta(minutes=5),
        )
        return replace(order, **changed)

    def locked(self, version: str = "2.0.0", *, take_over: bool = False, **changed: Any) -> Order:
        """The order of a run that holds the host's lock."""
        order = self.order(version, **changed)
        return replace(order, fence=self.change().take_lock(order, take_over=take_over))

    def staged(self, version: str = "2.0.0", **changed: Any) -> Order:
        """Everything up to the switch."""
        order, change = self.locked(version, **changed), self.change()
        change.back_up(order, lambda piece: None)
        change.deliver(order, [self.archives[version]], offset=0)
        change.stage(order)
        return order

    def backed_up(self, order: Order, change: HostChange | None = None) -> bytes:
        """Back up; the archive as the controller puts it together."""
        change, archive, kept = change or self.change(), bytearray(), KeptBinaries(self.root / "controller")
        binary = change.back_up(order, archive.extend).binary_sha256
        kept.keep(binary, lambda sink: change.read_binary(order, binary, sink))
        return b"".join(kept.put_together([bytes(archive)]))

    def switched(self, version: str = "2.0.0", **changed: Any) -> Order:
        order = self.staged(version, **changed)
        self.change().switch(order)
        return order

    def release(self, version: str, *, wants: str = "any", start: str = ":") -> bytes:
        """Build and remember the archive of a version."""
        agent = agent_text(self.root, version, wants=wants, start=start).encode()
        archive = tar_gz(("agent-x/bin/agent", agent, 0o755), ("agent-x/README", b"read me", 0o644))
        self.archives[version] = archive
        return archive

    def systemctl(self, *words: str) -> None:
        """Control the service by hand."""
        subprocess.run([self.root / "bin/systemctl", *words], check=False)


def agent_text(root: Path, version: str, *, wants: str = "any", start: str = ":") -> str:
    """An agent that notes its version once it runs; `start` is done before that."""
    return _AGENT.format(version=version, root=shlex.quote(str(root)), wants=wants, start=start)


Member = tuple[str, bytes, int] | tarfile.TarInfo


def tar_gz(*members: Member) -> bytes:
    """An archive of (name, content, mode) or of members as they are."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, content, mode = member
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def _executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def _profile(root: Path) -> AgentProfile:
    return AgentProfile.model_validate(
        {
            "name": "agent",
            "service": {"unit": "agent.service", "guard": "process", "start_timeout": "20s"},
            "paths": {
                "binary": f"{root}/usr/bin/agent",
                "releases": f"{root}/opt/agent/releases",
                "config": [f"{root}/etc/agent"],
                "secrets": [f"{root}/etc/agent-keys"],
                "state": [f"{root}/var/lib/agent"],
                "upkeep": f"{root}/var/lib/upkeep/agent",
            },
            "installer": {"binary_member": "*/bin/agent", "config_check": ["{{ candidate }}", "--check"]},
            "installed_version": {"command": ["true"]},
            "running_version": {"command": ["true"]},
        }
    )


def build(root: Path) -> Machine:
    """A host that runs version 1.0.0 from a plain file, with configuration, a key and state."""
    home = root / "systemd"
    home.mkdir(parents=True)
    host = Machine(root, _profile(root))
    systemctl = _SYSTEMCTL.replace("@HOME@", shlex.quote(str(home))).replace("@AGENT@", shlex.quote(str(host.binary)))
    _executable(root / "bin/systemctl", systemctl)
    _executable(host.binary, agent_text(root, "1.0.0"))
    for path, text, mode in _FILES:
        file = root / path
        file.parent.mkdir(parents=True)
        file.write_text(text)
        file.chmod(mode)
    host.release("2.0.0")
    host.systemctl("start", "agent.service")
    return host


def guards(host: Machine) -> list[str]:
    """Process ids of this host's dead-man switches that are alive."""
    script = os.fsencode(host.upkeep / "incoming/guard.sh")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if script in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(process.name)
    return found


def end_processes(host: Machine) -> None:
    """Kill the agent and every dead-man switch, with what they started."""
    agent = host.root / "systemd/pid"
    for pid in [*guards(host), *([agent.read_text()] if agent.exists() else [])]:
        with suppress(ProcessLookupError, ValueError):
            os.killpg(int(pid), signal.SIGKILL)
