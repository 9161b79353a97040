"""What lies on a lab host: agent, configuration, unit, stand-ins."""

from __future__ import annotations

import shlex
import shutil
import sys
import tarfile
from importlib import resources
from pathlib import Path

from upkeep.lab.layout import UNIT, HostPaths, LabPaths
from upkeep.lab.releases import PROGRAM, archive_name
from upkeep.lab.spec import HostSpec, LabSpec
from upkeep.lab.ssh_keys import new_ssh_key
from upkeep.lab.supervisor import WANTS

CONFIG_MODE, PROGRAM_MODE = 0o644, 0o755
ASKING_COMMANDS = ("systemctl", "journalctl")


def install_host(paths: LabPaths, spec: LabSpec, host: HostSpec) -> None:
    """Lay out a fresh host with the agent at the lab's first version, enabled."""
    files = paths.host(host.name)
    folders = (files.config.parent, files.state, files.binary.parent, files.units / WANTS, files.vendor_units)
    more = (
        files.root / "opt/ms-720/releases",
        files.root / "var/lib/upkeep/ms-720",
        files.bin,
        files.journal,
        files.aside,
    )
    for folder in (*folders, *more):
        folder.mkdir(parents=True, exist_ok=True)
    new_ssh_key(files.host_key, host.name)
    install_agent(paths.releases / spec.version / archive_name(spec.version), files.binary)
    write_config(files, agent_config(paths, spec, host))
    shutil.copyfile(paths.authority, files.config.parent / "ca.pem")
    (files.units / UNIT).write_text(unit_text(files), encoding="utf-8")
    (files.units / WANTS / UNIT).symlink_to(files.units / UNIT)
    write_stand_ins(paths, files)


def install_agent(archive: Path, binary: Path) -> None:
    """Put the program of a release's archive at `binary`, as a plain file."""
    with tarfile.open(archive) as content:
        member = next(name for name in content.getnames() if name.endswith(f"/{PROGRAM}"))
        extracted = content.extractfile(member)
        binary.write_bytes(extracted.read() if extracted else b"")
    binary.chmod(PROGRAM_MODE)


def write_config(files: HostPaths, text: str) -> None:
    """Replace the agent's configuration."""
    files.config.write_text(text, encoding="utf-8")
    files.config.chmod(CONFIG_MODE)


def agent_config(paths: LabPaths, spec: LabSpec, host: HostSpec) -> str:
    """The agent's configuration."""
    files = paths.host(host.name)
    return (
        "# MS-720 agent\n"
        f"server: {spec.control_centre}\n"
        "tls_verify: true\n"
        f"tls_ca: {files.config.parent / 'ca.pem'}\n"
        f"agent_id: {host.name}\n"
        "role: node\n"
        f"listen: {host.address}:{host.agent_port}\n"
        f"heartbeat_interval: {spec.heartbeat_seconds}\n"
        "log_level: INFO\n"
        f"state_dir: {files.state}\n"
    )


def unit_text(files: HostPaths) -> str:
    """The agent's unit file."""
    return (
        "[Unit]\nDescription=MCP MS-720 agent\nStartLimitIntervalSec=30\nStartLimitBurst=4\n\n"
        f"[Service]\nType=exec\nExecStart={_quoted(files.binary)} run --config {_quoted(files.config)}\n"
        f"WorkingDirectory={files.state}\n"
        "Restart=on-failure\nRestartSec=500ms\nTimeoutStopSec=5s\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def _quoted(path: Path) -> str:
    """As unit files want it: in double quotes."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def write_stand_ins(paths: LabPaths, files: HostPaths) -> None:
    """Write `systemctl`, `journalctl`, and `curl` where this machine has neither curl nor wget."""
    python = shlex.quote(sys.executable)
    folder = Path(str(resources.files("upkeep.lab.stand_ins")))
    for command in ASKING_COMMANDS:
        words = (str(folder / "ask_fleet.py"), str(paths.directory), files.name, command)
        write_program(files.bin / command, f'exec {python} -IS {shlex.join(words)} "$@"')
    if shutil.which("curl") is None:
        write_program(files.bin / "curl", f'exec {python} -IS {shlex.quote(str(folder / "curl.py"))} "$@"')


def write_program(path: Path, body: str) -> None:
    """Write an executable shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(PROGRAM_MODE)
