"""What lies over the shared root filesystem: the layer of all machines, and each machine's own seed."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from upkeep.lab.machines.layout import CONTROL_ADDRESS, MOST_MACHINES, Layout, address, machine_name
from upkeep.lab.machines.processes import call

USER = "ops"
USER_ID = 1000
ACCOUNT = {
    "passwd": f"{USER}:x:{USER_ID}:{USER_ID}:{USER}:/home/{USER}:/bin/bash\n",
    "group": f"{USER}:x:{USER_ID}:\n",
    "shadow": f"{USER}:*:19000:0:99999:7:::\n",
    "gshadow": f"{USER}:!::\n",
}
SSHD = (
    "HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    "MaxStartups 200\nMaxSessions 50\n"
)
JOURNAL = "[Journal]\nStorage=persistent\nSystemMaxUse=32M\nRuntimeMaxUse=8M\nAudit=no\n"
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dev-hugepages.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "ldconfig.service",
    "sys-fs-fuse-connections.mount",
    "systemd-pstore.service",
    "systemd-timesyncd.service",
)
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"


def write_layer(layout: Layout) -> None:
    """Write the layer of all machines: the login `ops` with sudo, keys, sshd, a persistent journal, no timers of the distribution."""
    layer = layout.layer
    public_key = layout.key.with_suffix(".pub").read_text("utf-8")
    for name, line in ACCOUNT.items():
        _append(layout.base / "etc" / name, layer / "etc" / name, line)
    _write(layer / f"etc/sudoers.d/{USER}", f"{USER} ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    _write(layer / "etc/ssh/sshd_config.d/machines.conf", SSHD)
    _write(layer / "etc/systemd/journald.conf.d/machines.conf", JOURNAL)
    _write(layer / "etc/resolv.conf", f"nameserver {CONTROL_ADDRESS}\noptions timeout:1 attempts:1\n")
    _let_in(layer / "root", 0, public_key)
    _let_in(layer / "home" / USER, USER_ID, public_key)
    (layer / "var/log/journal").mkdir(parents=True, exist_ok=True)
    (layer / "etc/systemd/system").mkdir(exist_ok=True)
    for unit in MASKED:
        (layer / "etc/systemd/system" / unit).symlink_to("/dev/null")


def write_seed(layout: Layout, number: int) -> None:
    """Write what makes a machine itself: name, machine id, the names of the others, SSH host key."""
    name, seed = machine_name(number), layout.machine(number).seed
    others = (f"{address(other)} {machine_name(other)}\n" for other in range(1, MOST_MACHINES + 1))
    _write(seed / "etc/machine-id", f"{machine_id(layout, number)}\n", 0o444)
    _write(seed / "etc/hostname", f"{name}\n")
    _write(seed / "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{CONTROL_ADDRESS} control\n{''.join(others)}")
    new_key(seed / HOST_KEY, name)


def machine_id(layout: Layout, number: int) -> str:
    """The machine's id: always the same for the same set and number."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{layout.name}-{machine_name(number)}").hex


def host_key(layout: Layout, number: int) -> str:
    """The machine's public SSH host key, as known_hosts has it."""
    public = layout.machine(number).seed / f"{HOST_KEY}.pub"
    return " ".join(public.read_text("utf-8").split()[:2])


def new_key(path: Path, comment: str) -> None:
    """Write an Ed25519 key pair."""
    path.parent.mkdir(parents=True, exist_ok=True)
    call(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path))


def _append(source: Path, target: Path, line: str) -> None:
    _write(target, source.read_text("utf-8") + line)
    shutil.copystat(source, target)
    status = source.stat()
    os.chown(target, status.st_uid, status.st_gid)


def _let_in(home: Path, owner: int, public_key: str) -> None:
    keys = home / ".ssh/authorized_keys"
    _write(keys, public_key, 0o600)
    for path in (keys, keys.parent, home):
        os.chown(path, owner, owner)
    keys.parent.chmod(0o700)
    home.chmod(0o700)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
