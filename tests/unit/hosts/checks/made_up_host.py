"""A made-up host: its /proc, /etc and programs are files in a folder; looks run on it as they do on real ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from upkeep.documents import load_catalogue
from upkeep.domain.finding import Finding
from upkeep.domain.profile import AgentProfile
from upkeep.hosts.checks.catalogued import exported, head, questions
from upkeep.hosts.local import LocalTransport
from upkeep.hosts.question import ask

CATALOGUE = {check.id: check for check in load_catalogue().checks}
PID = 4242
PATIENCE = timedelta(minutes=2)
"""These tests are about answers; how long a host may take for them is tested elsewhere."""
GOOD: dict[str, str] = {
    "proc/loadavg": "0.50 0.40 0.30 1/200 4242\n",
    "proc/stat": "cpu  100 0 100 1000 10 0 0 0 0 0\ncpu0 50 0 50 500 5 0 0 0\ncpu1 50 0 50 500 5 0 0 0\n",
    "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\nSwapTotal: 1000000 kB\nSwapFree: 1000000 kB\n",
    "proc/vmstat": "nr_free 1\noom_kill 0\n",
    "proc/uptime": "864000.00 1.00\n",
    "proc/sys/fs/file-nr": "1000\t0\t100000\n",
    "proc/sys/kernel/pid_max": "32768\n",
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
    "proc/pressure/io": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
    "proc/sys/net/netfilter/nf_conntrack_count": "10\n",
    "proc/sys/net/netfilter/nf_conntrack_max": "1000\n",
    "proc/mounts": "/dev/vda1 / ext4 rw,relatime 0 0\n",
    "proc/net/snmp": "Tcp: ActiveOpens OutSegs RetransSegs\nTcp: 5 100000 10\n",
    "proc/net/netstat": "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 0 7\n",
    "proc/net/dev": "Inter-| Receive | Transmit\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n",
    "proc/net/sockstat": "sockets: used 9\nTCP: inuse 5 orphan 0 tw 3 alloc 6 mem 1\n",
    "proc/net/tcp": "  sl  local_address rem_address   st\n   0: 0100007F:1C20 0200000A:20FB 01 0:0\n",
    "proc/net/route": "Iface Destination Gateway\neth0 00000000 0100000A\n",
    "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    f"proc/{PID}/status": "Name: a\nState:\tS (sleeping)\nUid:\t100\t100\t100\t100\nVmRSS:\t 50000 kB\nThreads:\t7\nNoNewPrivs:\t1\n",
    f"proc/{PID}/limits": "Limit Soft Hard Units\nMax open files            1024                 4096                 files\n",
    f"proc/{PID}/fd/0": "",
    f"proc/{PID}/exe": "-> /usr/local/bin/agent",
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/resolv.conf": "nameserver 10.0.0.1\n",
    "run/systemd/timesync/synchronized": "",
    "tmp/x": "",
    "agent/bin": "program",
    "agent/etc/agent.yaml": "server: https://centre\ntoken_file: /run/token\n",
    "agent/key": "secret",
    "agent/releases/1.0/bin": "x",
    "agent/unit": "[Service]\n",
    "said/show": f"NRestarts=0\nUnitFileState=enabled\nRestart=on-failure\nFragmentPath=@ROOT@/agent/unit\nDropInPaths=\nMainPID={PID}\n",
    "said/failed": "",
    "said/journal": "INFO started\nINFO connected\n",
    "said/kernel": "",
    "said/df-k": "Filesystem Type 1024-blocks Used Available Capacity Mounted on\n/dev/vda1 ext4 1000 400 600 40% /\ntmpfs tmpfs 10 10 0 100% /run\n",
    "said/df-i": "Filesystem Type Inodes IUsed IFree IUse% Mounted on\n/dev/vda1 ext4 1000 100 900 10% /\n",
    "said/stat-later": "cpu  110 0 105 1084 11 0 0 0 0 0\ncpu0 1 1\ncpu1 1 1\n",
}
MODES = {"agent/key": 0o600, "agent/etc/agent.yaml": 0o644, "agent/bin": 0o755}
PROGRAMS = {
    "systemctl": 'case $1 in show) cat "$SAID/show" ;; list-units) cat "$SAID/failed" ;; *) exit 1 ;; esac',
    "journalctl": 'case $1 in -k) cat "$SAID/kernel" ;; *) cat "$SAID/journal" ;; esac',
    "df": 'case $1 in -Pk*) cat "$SAID/df-k" ;; *) cat "$SAID/df-i" ;; esac',
    "sleep": 'cat "$SAID/stat-later" >"$UPKEEP_LOOK_ROOT/proc/stat"',
    "chronyc": "exit 1",
    "timedatectl": "exit 1",
}


@dataclass
class World:
    """A made-up host."""

    root: Path
    programs: dict[str, str] = field(default_factory=lambda: dict(PROGRAMS))
    variables: dict[str, str] = field(default_factory=dict)

    def write(self, files: Mapping[str, str | None]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if text is not None and text.startswith("-> "):
                path.symlink_to(text[3:])
            elif text is not None:
                path.write_text(text.replace("@ROOT@", str(self.root)))
                path.chmod(MODES.get(name, 0o644))

    def asked(self, *checks: str) -> list[Finding]:
        """What these checks find, their looks run for real."""
        wanted = [CATALOGUE[check] for check in checks]
        before = f"{exported(wanted, self.variables)}\n{head(self.profile())}"
        patient = [replace(one, timeout=PATIENCE) for one in questions(wanted)]
        return ask(self.transport(), patient, head=before)

    def transport(self) -> LocalTransport:
        """The way to it."""
        programs = self.root / "bin"
        programs.mkdir(exist_ok=True)
        for name, body in self.programs.items():
            (programs / name).write_text(f"#!/bin/sh\n{body}\n")
            (programs / name).chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        return LocalTransport(env={"UPKEEP_LOOK_ROOT": str(self.root), "SAID": f"{self.root}/said", "PATH": path})

    def profile(self, centre: str = "https://10.0.0.2:8443", **more: object) -> AgentProfile:
        """The agent's profile."""
        return AgentProfile.model_validate(
            {
                "name": "a",
                "service": {"unit": "agent.service"},
                "paths": {
                    "binary": f"{self.root}/agent/bin",
                    "releases": f"{self.root}/agent/releases",
                    "upkeep": f"{self.root}/upkeep",
                    "config": [f"{self.root}/agent/etc"],
                    "secrets": [f"{self.root}/agent/key"],
                },
                "installer": {"binary_member": "a"},
                "installed_version": {"command": ["true"]},
                "running_version": {"command": ["echo", "1.2.3"]},
                "control_centre": {"url": centre},
                **more,
            }
        )


def proc(pid_file: str, text: str) -> dict[str, str | None]:
    return {f"proc/{PID}/{pid_file}": text}


def shown(**changes: str) -> dict[str, str | None]:
    lines = dict(line.split("=", 1) for line in GOOD["said/show"].splitlines())
    return {"said/show": "".join(f"{name}={value}\n" for name, value in {**lines, **changes}.items())}
