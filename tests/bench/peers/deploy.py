"""The benchmark's work as a pyinfra deploy."""

from __future__ import annotations

from pyinfra import host
from pyinfra.operations import files, server

data = host.data
root = data.root
server.shell(
    name="12 checks",
    commands=[
        "uname -srm",
        f"df -Pk {root}",
        f"df -Pi {root}",
        "grep MemAvailable /proc/meminfo",
        "cat /proc/loadavg",
        "date +%s",
        "cat /proc/mounts",
        "systemctl is-active bench-agent.service",
        f"{root}/usr/bin/bench-agent --version",
        f"test $(stat -c %a {root}/etc/bench-agent/agent.conf) = 644",
        f"test -x {root}/usr/bin/bench-agent",
        f"curl -sf http://{data.agent}/health | grep -q UP",
    ],
)
server.shell(name="backup", commands=[f"tar -czf {root}/var/backups/agent.tar.gz -C {root} etc/bench-agent"])
files.put(name="push", src=data.new_binary, dest=f"{root}/usr/bin/bench-agent.new", mode="755")
server.shell(
    name="replace",
    commands=[
        f"echo '{data.new_sha256}  {root}/usr/bin/bench-agent.new' | sha256sum -c --quiet",
        f"mv -f {root}/usr/bin/bench-agent.new {root}/usr/bin/bench-agent",
        "systemctl restart bench-agent.service",
        f"curl -sf --retry 10 --retry-delay 1 http://{data.agent}/version | grep -q {data.new_version}",
    ],
)
