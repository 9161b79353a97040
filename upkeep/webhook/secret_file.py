"""Secrets of this controller that only its own user may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from upkeep.errors import AuditError


def kept_secret(path: Path) -> str:
    """The secret in a file, made at first use with mode 0600; several processes agree on one.

    Raises:
        AuditError: the file can be neither read nor written, or others can read it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _put(path, secrets.token_urlsafe(32))
        if path.stat().st_mode & 0o077:
            raise AuditError(f"{path} can be read by others; do: chmod 600 {path}, or remove it to get a new one")
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise AuditError(f"the secret in {path} cannot be used: {error}") from error


def _put(path: Path, secret: str) -> None:
    """Written beside it first and linked, so that nobody ever reads half a secret or overwrites another's."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secret)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
