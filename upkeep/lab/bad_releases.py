"""Releases that nobody may install, one per way of being bad."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from upkeep.errors import BadInput
from upkeep.lab.releases import (
    Member,
    ReleaseFiles,
    agent_members,
    archive_name,
    build_release,
    sign_file,
    write_release,
)

Key = ec.EllipticCurvePrivateKey

_MEMBERS = {
    "parent-member": Member("../../../../tmp/upkeep-lab-escaped", b"out\n"),
    "absolute-member": Member("/tmp/upkeep-lab-escaped", b"out\n"),  # noqa: S108 - nothing is written there
    "symlink-out": Member("out", kind=tarfile.SYMTYPE, link="/etc"),
    "hardlink-out": Member("out", kind=tarfile.LNKTYPE, link="../../../../etc/passwd"),
}
_SIGNATURES: dict[str, Callable[[ReleaseFiles], None]] = {
    "unsigned": lambda files: files.signature.unlink(),
    "wrong-key": lambda files: _sign_again(files, ec.generate_private_key(ec.SECP256R1())),
    "p384-key": lambda files: _sign_again(files, ec.generate_private_key(ec.SECP384R1())),
    "edited": lambda files: _edit(files.manifest),
    "truncated": lambda files: _truncate(files.archive),
}

FLAWS = {
    "unsigned": "there is no signature",
    "wrong-key": "signed by a key that nobody trusts",
    "p384-key": "signed by a P-384 key; see sign_with_p384 for one that is trusted",
    "edited": "the manifest was changed after it was signed",
    "expired": "the manifest expired yesterday",
    "older": "release_seq is 1",
    "truncated": "the archive is shorter than the manifest says",
    "parent-member": "a member leaves the folder by ../",
    "absolute-member": "a member has an absolute path",
    "symlink-out": "a symbolic link points out of the archive",
    "hardlink-out": "a hard link points out of the archive",
}


def build_bad_release(
    directory: Path, flaw: str, *, key: Key, version: str = "1.5.0", seq: int = 10500
) -> ReleaseFiles:
    """Write a release with one flaw of `FLAWS`; where the flaw is in the archive, the manifest is correctly signed.

    Raises:
        BadInput: there is no such flaw.
    """
    if flaw not in FLAWS:
        raise BadInput("no such flaw", found=flaw, allowed=", ".join(FLAWS))
    now = datetime.now(UTC)
    expires = now - timedelta(days=1) if flaw == "expired" else now + timedelta(days=30)
    seq = 1 if flaw == "older" else seq
    if flaw in _MEMBERS:
        members = [*agent_members(version), _MEMBERS[flaw]]
        facts: dict[str, object] = {"version": version, "release_seq": seq, "expires": expires}
        return write_release(directory, archive_name(version), members, key=key, facts=facts)
    files = build_release(directory, version, seq=seq, expires=expires, key=key)
    if spoil := _SIGNATURES.get(flaw):
        spoil(files)
    return files


def sign_with_p384(files: ReleaseFiles) -> Key:
    """Sign a release by a fresh P-384 key and return the key, so that its public half can be offered as trusted."""
    key = ec.generate_private_key(ec.SECP384R1())
    _sign_again(files, key)
    return key


def _sign_again(files: ReleaseFiles, key: Key) -> None:
    sign_file(files.manifest, key)


def _edit(path: Path) -> None:
    path.write_text(path.read_text("utf-8").replace('"notes": ""', '"notes": "edited"'), encoding="utf-8")


def _truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
