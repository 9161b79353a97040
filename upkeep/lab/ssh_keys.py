"""SSH keys of a lab: one per host, one for whoever works on the lab."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from upkeep.lab.certificates import write_private
from upkeep.lab.layout import LabPaths
from upkeep.lab.spec import HostSpec


def new_ssh_key(path: Path, comment: str) -> None:
    """Write an Ed25519 key pair, `path` and `path.pub`."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    write_private(path, private)
    public_path(path).write_bytes(public + f" {comment}\n".encode())


def public_path(path: Path) -> Path:
    """Where the public half of the key at `path` lies."""
    return path.with_name(f"{path.name}.pub")


def known_hosts_line(paths: LabPaths, host: HostSpec) -> str:
    """The host's line in known_hosts."""
    kind, key = public_path(paths.host(host.name).host_key).read_text("utf-8").split()[:2]
    return f"[{host.address}]:{host.ssh_port} {kind} {key}\n"
