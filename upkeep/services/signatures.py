"""Who signed a text: ECDSA over P-256 with SHA-256, as `openssl dgst -sha256 -verify` judges it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from upkeep.domain.profile import Trust, TrustedKey
from upkeep.errors import Place, UntrustedRelease

_ALLOWED = "a PEM public key, ECDSA on P-256"
_REMEDY = "openssl ecparam -name prime256v1 -genkey -noout -out release.key; openssl ec -in release.key -pubout"
_DER_SEQUENCE = 0x30
_MAX_KEY_BYTES = 64 * 1024


@dataclass(frozen=True)
class Key:
    """A trusted public key with its id."""

    id: str
    public: ec.EllipticCurvePublicKey
    revoked: bool = False

    def signed(self, text: bytes, signature: bytes) -> bool:
        """Whether `signature` (DER) is this key's over exactly these bytes."""
        try:
            self.public.verify(signature, text, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def load_keys(trust: Trust, folder: Path) -> tuple[Key, ...]:
    """The trusted keys, revoked ones included; their files are relative to `folder`.

    Raises:
        UntrustedRelease: a key file is missing or holds anything but a P-256 public key, or too few keys are left.
    """
    keys = tuple(_loaded(trust, folder))
    valid = {key.public.public_numbers() for key in keys if not key.revoked}
    if len(valid) < trust.threshold:
        raise UntrustedRelease(
            f"{trust.threshold} signatures are asked for, but only {len(valid)} different keys are trusted and not revoked",
            place=Place("trust", None, "threshold"),
            remedy="trust more keys, or lower trust.threshold",
        )
    return keys


def signers(text: bytes, signatures: Mapping[str, bytes], keys: tuple[Key, ...]) -> tuple[Key, ...]:
    """The keys that signed `text`, each key material once; a signature under a key's id must be that key's, under "" anybody's."""
    found: dict[ec.EllipticCurvePublicNumbers, Key] = {}
    for owner, encoded in signatures.items():
        der = decoded(encoded)
        for key in keys:
            if owner in {"", key.id} and key.signed(text, der):
                found.setdefault(key.public.public_numbers(), key)
    return tuple(found.values())


def decoded(signature: bytes) -> bytes:
    """A signature's DER bytes, also when it is written as base64; anything else is left as it is and will not verify."""
    if signature[:1] == bytes([_DER_SEQUENCE]) and not signature.isascii():
        return signature
    try:
        return base64.b64decode(b"".join(signature.split()), validate=True)
    except binascii.Error:
        return signature


def _loaded(trust: Trust, folder: Path) -> Iterator[Key]:
    """Keys that count must be readable; revoked ones only serve to say who signed."""
    for key in trust.keys:
        try:
            yield _load(key, folder)
        except UntrustedRelease:
            if not key.revoked:
                raise


def _load(key: TrustedKey, folder: Path) -> Key:
    path = folder / Path(key.file).expanduser()
    place = Place(str(path), None, f"trusted key {key.id}")
    try:
        with path.open("rb") as file:
            public = load_pem_public_key(file.read(_MAX_KEY_BYTES))
    except OSError as error:
        raise UntrustedRelease(
            f"the key file cannot be read: {error.strerror}", place=place, remedy="correct trust.keys"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UntrustedRelease("is not a public key in PEM", place=place, allowed=_ALLOWED, remedy=_REMEDY) from error
    if not isinstance(public, ec.EllipticCurvePublicKey):
        found = type(public).__name__.removeprefix("_").removesuffix("PublicKey")
        raise UntrustedRelease("is of the wrong kind", place=place, found=found, allowed=_ALLOWED, remedy=_REMEDY)
    if not isinstance(public.curve, ec.SECP256R1):
        found = f"ECDSA on {public.curve.name}"
        raise UntrustedRelease("is on the wrong curve", place=place, found=found, allowed=_ALLOWED, remedy=_REMEDY)
    return Key(key.id, public, key.revoked)
