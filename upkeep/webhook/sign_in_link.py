"""The link that signs in, once, whoever started a controller that knows no people yet."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from upkeep.settings import Settings


class SignInLink:
    """One link at a time; what lies on the disk is only its hash."""

    def __init__(self, settings: Settings) -> None:
        self._path: Path = settings.home / "sign-in-link"

    def make(self, address: str) -> str:
        """A new link to the pages at `address`; the one before is void."""
        key = secrets.token_urlsafe(32)
        self._path.unlink(missing_ok=True)
        descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_hash(key))
        return f"{address}/sign-in/link?key={key}"

    def use(self, key: str) -> bool:
        """Whether this is the link's key; it is void from then on."""
        try:
            kept = self._path.read_text("utf-8")
            if not hmac.compare_digest(kept, _hash(key)):
                return False
            self._path.unlink()  # of two who come with the same key at once, one finds it gone
        except FileNotFoundError:
            return False
        return True

    def void(self) -> None:
        """Nobody can use the link any more."""
        self._path.unlink(missing_ok=True)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
