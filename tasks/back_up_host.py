"""Backing up one host: on the host for a quick return, on the controller for the day the host is lost."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.lock_host import locked, order_of
from tasks.session import HostWork, RunSession
from upkeep.domain.change import HostOutcome, HostResult, Step
from upkeep.errors import BackupError
from upkeep.hosts.host_change import Order
from upkeep.services.sealing import BackupKeys


@task(name="back up host", task_run_name="back up {host}", cache_policy=NO_CACHE)
def back_up_host(session: RunSession, host: str) -> HostResult:
    """Back one host up without changing it."""
    work = session.work(host)
    with locked(session, work, order_of(session), stage="") as order:
        size = back_up(session, work, order)
    return HostResult(outcome=HostOutcome.BACKED_UP, reason=f"{size} bytes, read back and compared")


def back_up(session: RunSession, work: HostWork, order: Order, *, stage: str = "") -> int:
    """Take one full backup, compare it, and keep it in both places; returns its size in bytes.

    Raises:
        StepFailed: the backup is not complete or does not compare (cause BackupError), or the host failed.
    """
    with (
        session.step(work.host.name, Step.BACKUP, stage=stage) as step,
        ArchiveFile(
            session.backups / f"{work.host.name}.tar.gz.sealed",
            session.backup_keys,
            f"{session.record.id}/{work.host.name}",
        ) as archive,
    ):
        manifest = work.change.back_up(order, archive.write)
        if archive.sha256 != manifest.sha256:
            raise BackupError(f"the archive that arrived has SHA-256 {archive.sha256}, the host sent {manifest.sha256}")
        if binary := manifest.binary_sha256:
            session.kept_binaries.keep(binary, lambda sink: work.change.read_binary(order, binary, sink))
            step.body["binary_sha256"] = binary
        path = archive.keep()
        step.body |= {
            "files": manifest.files,
            "size_bytes": archive.size_bytes,
            "sha256": archive.sha256,
            "path": str(path),
        }
        session.history.backup_taken(
            session.record.id,
            work.host.name,
            path=str(path),
            size_bytes=archive.size_bytes,
            sha256=archive.sha256,
            files=manifest.files,
            verified=True,
        )
    return archive.size_bytes


class ArchiveFile:
    """A backup on its way to the controller's store, sealed; without `keep` nothing of it stays.

    Size and SHA-256 are those of the archive itself.
    """

    def __init__(self, path: Path, keys: BackupKeys, subject: str) -> None:
        self.path, self._keys, self._subject = path, keys, subject
        self.size_bytes = 0
        self._partial = path.with_suffix(".partial")
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.fdopen(os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        self._file = self._keys.sealing(file, self._subject)
        return self

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        self._file.write(piece)
        self._hash.update(piece)
        self.size_bytes += len(piece)

    @property
    def sha256(self) -> str:
        """SHA-256 of what was written so far, in hex."""
        return self._hash.hexdigest()

    def keep(self) -> Path:
        """Make it durable under its final name."""
        self._file.close()
        _sync(self._partial)
        self._partial.replace(self.path)
        _sync(self.path.parent)
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
