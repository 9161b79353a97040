"""A small agent as a real unit: a shell script that says which version runs, rewrites its configuration, and keeps some data."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile

from upkeep.domain.profile import AgentProfile

OLD, NEW = "1.0.0", "2.0.0"
NAME = "torture-agent"
BINARY = f"/usr/local/bin/{NAME}"
RELEASES = f"/opt/{NAME}/releases"
UPKEEP = f"/var/lib/upkeep/{NAME}"
CONFIG_FILE = f"/etc/{NAME}/agent.conf"
DATA_FILE = f"/var/lib/{NAME}/data"
CONFIG = "for=any\nlisten=8080\n"

_AGENT = """#!/bin/sh
# agent {version}
case $1 in
--check) exec grep -q for=any {config} ;;
--version) echo {version} && exit ;;
pre) {pre} && exit ;;
esac
{start}
grep -qx wrote={version} {config} || [ {version} = 1.0.0 ] || echo wrote={version} >>{config}
echo "$$ {version}" >/run/{name}.running
{main}
"""
MAIN = 'while :; do sleep 3600 & wait "$!"; done'

UNIT = f"""[Unit]
Description=Agent under torture
StartLimitIntervalSec=30
StartLimitBurst=5
[Service]
ExecStartPre={BINARY} pre
ExecStart={BINARY} run
Restart=on-failure
RestartSec=100ms
TimeoutStopSec=5
[Install]
WantedBy=multi-user.target
"""

INSTALL = f"""
systemctl unmask {NAME}.service 2>/dev/null || true
systemctl stop {NAME}.service 2>/dev/null || true
for unit in /etc/systemd/system/upkeep-guard-*.timer /etc/systemd/system/upkeep-guard-*-boot.service; do
    [ ! -e "$unit" ] || systemctl disable --quiet --now "${{unit##*/}}"
done
rm -rf /etc/systemd/system/upkeep-guard-* /etc/systemd/system/{NAME}.service.d /var/lib/upkeep /opt/{NAME} /etc/{NAME} /var/lib/{NAME} /run/torture
mkdir -p /etc/{NAME} /var/lib/{NAME}
cat >{BINARY}.new
chmod 755 {BINARY}.new
mv -T {BINARY}.new {BINARY}
printf '%s' '{CONFIG}' >{CONFIG_FILE}
echo old >{DATA_FILE}
cat >/etc/systemd/system/{NAME}.service <<'U'
{UNIT}U
systemctl daemon-reload
systemctl enable --quiet {NAME}.service
systemctl reset-failed {NAME}.service
systemctl restart {NAME}.service
until [ -s /run/{NAME}.running ]; do sleep 0.05; done
sync
"""


def agent(version: str, *, pre: str = ":", start: str = ":", main: str = MAIN) -> bytes:
    """The agent's program; `pre` is done before systemd counts it as started, `start` before it says that it runs."""
    return _AGENT.format(version=version, pre=pre, start=start, main=main, name=NAME, config=CONFIG_FILE).encode()


def sha256(content: bytes) -> str:
    """As the host and the release name it."""
    return hashlib.sha256(content).hexdigest()


def archive(program: bytes) -> bytes:
    """A release archive, always the same bytes for the same program."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as packed:
        for name, content in ((f"{NAME}-x/bin/{NAME}", program), (f"{NAME}-x/README", b"read me")):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            packed.addfile(info, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


PROFILE = AgentProfile.model_validate(
    {
        "name": NAME,
        "service": {"unit": f"{NAME}.service", "start_timeout": "10s"},
        "paths": {
            "binary": BINARY,
            "releases": RELEASES,
            "config": [f"/etc/{NAME}"],
            "state": [f"/var/lib/{NAME}"],
            "upkeep": UPKEEP,
        },
        "installer": {"binary_member": f"*/bin/{NAME}", "config_check": ["{{ candidate }}", "--check"]},
        "installed_version": {"command": [BINARY, "--version"]},
        "running_version": {"command": ["cat", f"/run/{NAME}.running"]},
    }
)
