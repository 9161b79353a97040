"""Keys that sign checkpoints: Ed25519, made at first use, changed by rotation; the public parts of all stay beside."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from upkeep.errors import AuditError, BadInput

_CURRENT, _NEXT = "history.key", "history.next.key"


class PublicKey:
    """What others need to check a signature."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = hashlib.sha256(self.raw).hexdigest()[:16]
        self.pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @classmethod
    def read(cls, path: Path) -> PublicKey:
        """A public key in PEM.

        Raises:
            BadInput: it is none, or not Ed25519.
        """
        try:
            return cls.of_pem(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise BadInput(
                f"{path} is not a public key that checkpoints are signed with",
                found=error,
                allowed="an Ed25519 public key in PEM, as in $UPKEEP_HOME/keys",
            ) from error

    @classmethod
    def of_pem(cls, pem: bytes) -> PublicKey:
        """From PEM; raises ValueError when it is not Ed25519."""
        key = load_pem_public_key(pem)
        if not isinstance(key, Ed25519PublicKey):
            message = "the key is not Ed25519"
            raise ValueError(message)  # noqa: TRY004 - the text is wrong, not a type in the program
        return cls(key)

    @classmethod
    def of_raw(cls, text: str) -> PublicKey:
        """From base64 of its 32 bytes; raises ValueError."""
        return cls(Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True)))

    def signed(self, text: str, signature: str) -> bool:
        """Whether `signature` (base64) is this key's over `text`."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """A private key; it never leaves this machine."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())
        self.id = self.public.id

    def sign(self, text: str) -> str:
        """Base64 of the signature over `text` in UTF-8."""
        return base64.b64encode(self._key.sign(text.encode())).decode()

    def pem(self) -> bytes:
        """PKCS 8, not encrypted: the file's mode protects it."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class KeyFolder:
    """The keys of one controller: `history.key` (0600) in a folder of 0700, and `KEYID.pem` for every public part."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def current(self) -> SigningKey:
        """The key that signs now, made at first use.

        Raises:
            AuditError: it cannot be made, read, or others may read it.
        """
        return self._made(_CURRENT)

    def coming(self) -> SigningKey:
        """The key that a rotation goes to; the same one until `adopt` makes it the current one."""
        return self._made(_NEXT)

    def signing(self, announced: str) -> SigningKey:
        """The key to sign with when the history says that `announced` is the newest (empty: it says nothing).

        A rotation that was broken off after it was announced is finished here.
        """
        current = self.current()
        if announced in {"", current.id} or not (self.path / _NEXT).exists() or self.coming().id != announced:
            return current
        self.adopt()
        return self.current()

    def adopt(self) -> None:
        """The coming key is the current one from here on; of the old one only the public part stays."""
        try:
            (self.path / _NEXT).replace(self.path / _CURRENT)
        except OSError as error:
            raise self._trouble(error) from error

    def publics(self) -> list[PublicKey]:
        """Every public key in the folder."""
        return [PublicKey.read(path) for path in sorted(self.path.glob("*.pem"))]

    def _made(self, name: str) -> SigningKey:
        path = self.path / name
        try:
            if not path.exists():
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_once(path, SigningKey(Ed25519PrivateKey.generate()).pem())
            if path.stat().st_mode & 0o077:
                raise AuditError(f"others may read the signing key {path}; do: chmod 600 {path}, then rotate the key")
            key = load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(key, Ed25519PrivateKey):
                raise AuditError(f"the signing key {path} is not Ed25519; do: move it away, a new one is made")
            signing = SigningKey(key)
            write_once(self.path / f"{signing.id}.pem", signing.public.pem.encode(), mode=0o644)
        except (OSError, ValueError) as error:
            raise self._trouble(error) from error
        return signing

    def _trouble(self, error: Exception) -> AuditError:
        return AuditError(f"the keys in {self.path} cannot be used: {error}; do: give this user the folder")


def write_once(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Whoever comes first writes the file; it is whole from the moment it is there."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123 - the mode from the first byte on
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
