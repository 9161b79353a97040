"""What Upkeep is told about the hosts: profile, signed release, plan, inventory."""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.bench.hosts import NEW, Fleet, free_port
from upkeep.domain.release import ARCHITECTURES, Artifact, Release

PROFILE = """\
name: bench-agent
service: {unit: bench-agent.service, guard: process, start_timeout: 60s}
paths:
  binary: "{{ root }}/usr/bin/bench-agent"
  releases: "{{ root }}/opt/bench-agent/releases"
  config: ["{{ root }}/etc/bench-agent"]
  state: ["{{ root }}/var/lib/bench-agent"]
  upkeep: "{{ root }}/var/lib/upkeep"
installer:
  binary_member: "*/bench-agent"
  config_check: ["{{ candidate }}", --check-config, "{{ root }}/etc/bench-agent"]
installed_version: {command: ["{{ root }}/usr/bin/bench-agent", --version]}
running_version: {url: "http://{{ agent }}/version"}
probes:
  http:
    - {id: health, url: "http://{{ agent }}/health", body: '"status":\\s*"UP"', timeout: 30s}
files:
  - {path: "{{ root }}/etc/bench-agent/agent.conf", mode: "0644"}
needs: {load_per_core: 100000}
"""


PULLING = "pulling.yaml"


def write(fleet: Fleet) -> tuple[Path, Path]:
    """The documents in the fleet's folder; returns inventory and plan. Beside the plan lies the same with a relay, PULLING."""
    folder = fleet.folder
    (folder / "profile.yaml").write_text(PROFILE)
    _release(folder)
    plan = {
        "name": "bench",
        "profile": "profile.yaml",
        "release": "release.json",
        "trust": {"keys": [{"id": "bench", "file": "release.pem"}]},
        "stages": [{"pct": 100, "soak": "0s"}],
        "down_budget_pct": 100,
        "at_once": min(500, len(fleet.hosts)),
        "healthy_time": "0s",
        "soak": {"canary": "0s", "other": "0s", "every": "1s"},
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    relay = {"how": "relay", "relay": f"127.0.0.1:{free_port()}"}
    (folder / PULLING).write_text(yaml.safe_dump({**plan, "delivery": relay}))
    defaults = {
        "user": fleet.user,
        "port": fleet.port,
        "key": str(fleet.key),
        "known_hosts": str(fleet.known_hosts),
        "become": "none",
    }
    hosts = {
        host.address: {
            "address": host.address,
            "vars": {"root": str(host.root), "agent": f"{host.address}:{fleet.http_port}"},
        }
        for host in fleet.hosts
    }
    (folder / "inventory.yaml").write_text(yaml.safe_dump({"defaults": defaults, "hosts": hosts}))
    return folder / "inventory.yaml", folder / "plan.yaml"


def _release(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "release.pem").write_bytes(public)
    content = (folder / f"bench-agent-{NEW}").read_bytes()
    archive = folder / f"bench-agent-{NEW}.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        member = tarfile.TarInfo(f"bench-agent-{NEW}/bench-agent")
        member.size, member.mode = len(content), 0o755
        packed.addfile(member, io.BytesIO(content))
    artifact = Artifact(
        arch=ARCHITECTURES[platform.machine()],
        libc="any",
        url=archive.name,
        size_bytes=archive.stat().st_size,
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
    )
    manifest = folder / "release.json"
    manifest.write_text(
        Release(
            product="bench-agent",
            version=NEW,
            release_seq=1,
            expires=datetime.now(UTC) + timedelta(days=30),
            artifacts=(artifact,),
            upgrade_from=">=1.0",
        ).model_dump_json()
    )
    manifest.with_suffix(".json.sig").write_bytes(key.sign(manifest.read_bytes(), ec.ECDSA(hashes.SHA256())))
