"""A publisher of releases: keys, manifests and signatures for tests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from upkeep.domain.profile import Trust, TrustedKey
from upkeep.services.releases import SeenSeq, TrustedRelease, read_release

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ARTIFACT = b"an archive"


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def foreign_keys() -> dict[str, bytes]:
    """Public keys of kinds that are not allowed."""
    return {
        "RSA": public_pem(rsa.generate_private_key(65537, 2048)),
        "Ed25519": public_pem(ed25519.Ed25519PrivateKey.generate()),
        "secp384r1": public_pem(ec.generate_private_key(ec.SECP384R1())),
    }


@dataclass
class Publisher:
    """Writes `release.json` into a folder and signs it with its keys, named a, b, c."""

    folder: Path
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(
        default_factory=lambda: {name: ec.generate_private_key(ec.SECP256R1()) for name in "abc"}
    )
    revoked: frozenset[str] = frozenset()
    threshold: int = 1

    def __post_init__(self) -> None:
        for name, key in self.keys.items():
            (self.folder / f"{name}.pem").write_bytes(public_pem(key))

    @property
    def manifest(self) -> Path:
        return self.folder / "release.json"

    @property
    def trust(self) -> Trust:
        keys = tuple(TrustedKey(id=name, file=f"{name}.pem", revoked=name in self.revoked) for name in self.keys)
        return Trust(keys=keys, threshold=self.threshold)

    def facts(self, **changes: object) -> dict[str, object]:
        artifact = {
            "arch": "amd64",
            "url": "agent.tar.gz",
            "size_bytes": len(ARTIFACT),
            "sha256": hashlib.sha256(ARTIFACT).hexdigest(),
        }
        return {
            "product": "ms-720",
            "version": "1.5.0",
            "release_seq": 7,
            "expires": "2026-12-31T00:00:00Z",
            "artifacts": [artifact],
            **changes,
        }

    def sign(self, name: str) -> bytes:
        return self.keys[name].sign(self.manifest.read_bytes(), ec.ECDSA(hashes.SHA256()))

    def publish(self, text: bytes | None = None, **changes: object) -> None:
        """A manifest with key a's signature beside it."""
        self.manifest.write_bytes(json.dumps(self.facts(**changes), indent=2).encode() if text is None else text)
        (self.folder / "release.json.sig").write_bytes(self.sign("a"))
        (self.folder / "agent.tar.gz").write_bytes(ARTIFACT)

    def publish_signed_by(self, *names: str) -> None:
        """A manifest with one signature file per key."""
        self.publish()
        (self.folder / "release.json.sig").unlink()
        for name in names:
            (self.folder / f"release.json.{name}.sig").write_bytes(self.sign(name))

    def read(
        self,
        location: str = "release.json",
        *,
        now: datetime = NOW,
        seen: SeenSeq = lambda _channel, _key: None,
        **options: Any,
    ) -> TrustedRelease:
        options = {"product": "ms-720", **options}
        return read_release(location, self.folder, self.trust, self.folder, now=now, seen_seq=seen, **options)
