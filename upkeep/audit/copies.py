"""Copies of checkpoints away from the database: a folder, whatever fsspec reaches, or a webhook that keeps what it is sent."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import httpx

from upkeep.errors import AuditError

WEBHOOK = "webhook+"
"""Before http:// or https://: each copy is sent there by POST."""
_TIMEOUT_SECONDS = 10


class Copies:
    """One small file a checkpoint; what is there is never written over."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._folder = None if "://" in target else Path(target).expanduser().absolute()
        self.where = str(self._folder) if self._folder else _without_password(target)

    def write(self, name: str, content: bytes) -> None:
        """Put one file there, whole or not at all.

        Raises:
            AuditError: it could not be put there.
        """
        try:
            if self._folder:
                _write_file(self._folder / name, content)
            elif self._target.startswith(WEBHOOK):
                _post(self._target.removeprefix(WEBHOOK), name, content)
            else:
                _write_object(self._target, name, content)
        except Exception as error:  # every store behind fsspec has errors of its own
            raise self._trouble("written to", error) from error

    def read(self) -> dict[str, bytes]:
        """Every copy by file name; empty when there is no such place yet.

        Raises:
            AuditError: the place cannot be read.
        """
        if self._target.startswith(WEBHOOK):
            raise AuditError(f"{self.where} gives no copies back; compare with what it kept: --checkpoints DIR")
        try:
            if self._folder:
                return {path.name: path.read_bytes() for path in sorted(self._folder.glob("checkpoint-*.json"))}
            files, root = fsspec.url_to_fs(self._target)
            if not files.exists(root):
                return {}
            paths = sorted(files.glob(f"{root.rstrip('/')}/checkpoint-*.json"))
            return {path.rsplit("/", 1)[-1]: files.cat_file(path) for path in paths}
        except Exception as error:  # every store behind fsspec has errors of its own
            raise self._trouble("read from", error) from error

    def _trouble(self, verb: str, error: Exception) -> AuditError:
        return AuditError(f"checkpoints cannot be {verb} {self.where}: {type(error).__name__}: {error}")


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)  # its name holds its content's digest: what is replaced is the same
    finally:
        temporary.unlink(missing_ok=True)


def _write_object(target: str, name: str, content: bytes) -> None:
    files, root = fsspec.url_to_fs(target)
    files.makedirs(root, exist_ok=True)
    files.pipe_file(f"{root.rstrip('/')}/{name}", content)


def _post(url: str, name: str, content: bytes) -> None:
    """The same copy may come twice, under the same name: after an answer that was lost."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": name}
    httpx.post(url, content=content, headers=headers, timeout=_TIMEOUT_SECONDS).raise_for_status()


def _without_password(target: str) -> str:
    netloc = urlsplit(target).netloc
    return target.replace(netloc, netloc.rsplit("@", 1)[-1], 1) if "@" in netloc else target
