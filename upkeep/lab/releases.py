"""Signed releases of the reference agent, good ones and ones that misbehave on purpose."""

from __future__ import annotations

import gzip
import hashlib
import io
import platform
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from upkeep.domain.release import ARCHITECTURES, Artifact, Release
from upkeep.errors import BadInput

PRODUCT = "ms-720"
CHANNEL = "stable"
PROGRAM = "ms-720-agent"
VARIANTS = {
    "crash-loop": "ends right after its start, every time",
    "dies-after-20s": "works, then ends 20 s after its start",
    "not-registering": "is healthy but never registers at the control centre",
    "slow": "answers five times slower",
    "error-flood": "writes ERROR lines without end",
    "wrong-version": "reports another version than it is",
    "config-rejected": "does not accept the present configuration",
}
LONGEST_SHEBANG = 120


@dataclass(frozen=True)
class ReleaseFiles:
    """One release on disk."""

    archive: Path
    manifest: Path
    signature: Path
    release: Release


@dataclass(frozen=True)
class Member:
    """One entry of an archive to build."""

    name: str
    content: bytes = b""
    mode: int = 0o755
    kind: bytes = tarfile.REGTYPE
    link: str = ""


def build_release(
    directory: Path,
    version: str,
    *,
    variant: str = "",
    seq: int,
    expires: datetime,
    key: ec.EllipticCurvePrivateKey,
    data_change: str = "none",
) -> ReleaseFiles:
    """Write archive, `release.json` and its signature into `directory`.

    Raises:
        BadInput: there is no such variant.
    """
    if variant and variant not in VARIANTS:
        raise BadInput("no such variant of the reference agent", found=variant, allowed=", ".join(VARIANTS))
    return write_release(
        directory, archive_name(version), agent_members(version, variant), key=key, facts={
            "version": version, "release_seq": seq, "expires": expires, "data_change": data_change,
            "notes": f"misbehaves on purpose: {VARIANTS[variant]}" if variant else "",
        },
    )  # fmt: skip


def write_release(
    directory: Path,
    archive: str,
    members: Iterable[Member],
    *,
    key: ec.EllipticCurvePrivateKey,
    facts: dict[str, object],
) -> ReleaseFiles:
    """Pack `members`, describe the archive by `facts`, sign the description."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / archive
    path.write_bytes(packed(members))
    release = Release.model_validate(
        {"product": PRODUCT, "channel": CHANNEL, "upgrade_from": ">=1.3.0", "artifacts": (described(path),), **facts}
    )
    manifest = directory / "release.json"
    manifest.write_text(release.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return ReleaseFiles(path, manifest, sign_file(manifest, key), release)


def described(archive: Path) -> Artifact:
    """The archive's entry in a manifest."""
    content = archive.read_bytes()
    return Artifact(
        arch=ARCHITECTURES.get(platform.machine(), platform.machine()),
        url=archive.name,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def sign_file(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    """Write `<path>.sig`: ECDSA with SHA-256 over the file's exact bytes, DER."""
    signature = path.with_name(f"{path.name}.sig")
    signature.write_bytes(key.sign(path.read_bytes(), ec.ECDSA(hashes.SHA256())))
    return signature


def load_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a PEM private key.

    Raises:
        BadInput: the file holds another kind of key.
    """
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadInput("not an elliptic curve key", found=path)
    return key


def archive_name(version: str) -> str:
    """`ms-720-agent-1.5.0-linux-amd64.tar.gz` for this machine's architecture."""
    return f"{_folder(version)}.tar.gz"


def agent_members(version: str, variant: str = "") -> list[Member]:
    """What a release's archive holds."""
    folder = _folder(version)
    return [
        Member(f"{folder}/", kind=tarfile.DIRTYPE),
        Member(f"{folder}/{PROGRAM}", program(version, variant)),
        Member(f"{folder}/RELEASE", f"{PRODUCT} {version}\n".encode(), 0o644),
    ]


def program(version: str, variant: str = "", python: str = sys.executable) -> bytes:
    """The agent as one executable file: a first line that starts Python, then a zip that Python runs."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(_sources(version, variant).items()):
            archive.writestr(zipfile.ZipInfo(name), text)
    return _first_line(python) + stream.getvalue()


def packed(members: Iterable[Member]) -> bytes:
    """The members as tar.gz; the same members give the same bytes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.mode, info.linkname = member.kind, member.mode, member.link
            info.size = len(member.content)
            archive.addfile(info, io.BytesIO(member.content))
    return gzip.compress(stream.getvalue(), mtime=0)


def _folder(version: str) -> str:
    arch = ARCHITECTURES.get(platform.machine(), platform.machine())
    return f"{PROGRAM}-{version}-linux-{arch}"


def _sources(version: str, variant: str) -> dict[str, str]:
    package = resources.files("upkeep.lab.ms_720_agent")
    modules = {f"ms_720_agent/{entry.name}": entry.read_text("utf-8") for entry in package.iterdir() if entry.is_file()}
    modules["ms_720_agent/build.py"] = f"VERSION = {version!r}\nVARIANT = {variant!r}\n"
    modules["__main__.py"] = (
        "import sys\n\nfrom ms_720_agent.command_line import main\n\nsys.exit(main(sys.argv[1:]))\n"
    )
    return modules


def _first_line(python: str) -> bytes:
    if len(python) < LONGEST_SHEBANG and not any(c.isspace() for c in python):
        return f"#!{python} -I\n".encode()
    quoted = python.replace("'", "'\\''")
    return f'#!/bin/sh\nexec \'{quoted}\' -I "$0" "$@"\n'.encode()
