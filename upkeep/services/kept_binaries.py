"""Old binaries on the controller, each once however many hosts ran it, and the archives they belong into (docs/adr/0012)."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from upkeep.errors import BackupError

PIECE_BYTES = 1024**2
FIRST_COME_SECONDS = 10.0
"""So long others wait for the host that sends a binary first; a slow one does not hold up the rest."""

_MANIFEST = "upkeep-backup/manifest"
_IN_MEMORY_BYTES = 64 * 1024**2

Sink = Callable[[bytes], None]


class KeptBinaries:
    """A folder of binaries, named by their SHA-256; safe for many threads and several processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._one_by_one: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._whole: set[str] = set()

    def keep(self, sha256: str, fetch: Callable[[Sink], None]) -> None:
        """Keep a binary, durably; `fetch` is only asked for it when it is not here. Hosts that have the same one wait for the first.

        Raises:
            BackupError: what came is another file.
        """
        first = self._one_by_one[sha256]
        waited = first.acquire(timeout=FIRST_COME_SECONDS)
        try:
            known = sha256 in self._whole and (self.folder / sha256).exists()
            if not known and self._hash(sha256) != sha256:
                self._take_in(sha256, fetch)
            self._whole.add(sha256)
        finally:
            if waited:
                first.release()

    def put_together(self, archive: Iterable[bytes]) -> Iterator[bytes]:
        """An archive (tar.gz) as one file for people and hosts: with the binary that its manifest names and it does not hold.

        Raises:
            BackupError: that binary is not here, or the archive cannot be read.
        """
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as packed:
            for piece in archive:
                packed.write(piece)
            packed.seek(0)
            try:
                missing, end = _missing(packed)
            except (OSError, EOFError, tarfile.TarError, KeyError, ValueError) as error:
                raise BackupError(f"the backup's archive cannot be read: {error}") from error
            packed.seek(0)
            if missing is None:
                yield from iter(lambda: packed.read(PIECE_BYTES), b"")
            else:
                yield from self._with(packed, end, missing)

    def _with(self, packed: IO[bytes], end: int, missing: Missing) -> Iterator[bytes]:
        if self._hash(missing.sha256) != missing.sha256:
            raise BackupError(
                f"the old binary of this backup is not here or damaged: {self.folder / missing.sha256}",
                remedy="bring that file back; its name is its SHA-256",
            )
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as whole:
            with gzip.GzipFile(fileobj=whole, mode="wb", compresslevel=1, mtime=0) as out:
                with gzip.GzipFile(fileobj=packed, mode="rb") as plain:
                    _copy(plain, out, end)
                with (
                    (self.folder / missing.sha256).open("rb") as binary,
                    tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar,
                ):
                    tar.addfile(missing.member, binary)
            whole.seek(0)
            yield from iter(lambda: whole.read(PIECE_BYTES), b"")

    def _take_in(self, sha256: str, fetch: Callable[[Sink], None]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self.folder / f"{sha256}.{os.getpid()}.{threading.get_ident()}"
        digest = hashlib.sha256()
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:

                def take(piece: bytes) -> None:
                    digest.update(piece)
                    file.write(piece)

                fetch(take)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != sha256:
                raise BackupError(f"the binary that arrived has SHA-256 {digest.hexdigest()}, the host named {sha256}")
            partial.replace(self.folder / sha256)
        finally:
            partial.unlink(missing_ok=True)
        _sync(self.folder)

    def _hash(self, sha256: str) -> str:
        try:
            with (self.folder / sha256).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return ""


@dataclass(frozen=True)
class Missing:
    """The binary an archive does not hold, and how it would lie in it."""

    sha256: str
    member: tarfile.TarInfo


def _missing(packed: IO[bytes]) -> tuple[Missing | None, int]:
    """What is missing in an archive, and where its members end, in bytes of the plain tar."""
    with tarfile.open(fileobj=packed, mode="r:gz") as tar:
        members = tar.getmembers()
        named = tar.extractfile(tar.getmember(_MANIFEST))
        manifest = named.read() if named else b""
        for line in manifest.split(b"\n"):
            fields = line.split(b"\t", 7)
            if fields[1:3] == [b"binary", b"f"]:
                name = os.fsdecode(fields[7].replace(b"\1", b"\n"))
                held = name in {member.name for member in members}
                return (None if held else Missing(fields[0].decode(), _member(name, fields))), tar.offset
    return None, 0


def _member(name: str, fields: list[bytes]) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    owner, _, group = fields[4].partition(b":")
    member.mode, member.uid, member.gid = int(fields[3], 8), int(owner), int(group)
    member.size, member.mtime = int(fields[5]), float(fields[6])
    return member


def _copy(source: IO[bytes] | gzip.GzipFile, target: IO[bytes] | gzip.GzipFile, size_bytes: int) -> None:
    left = size_bytes
    while left and (piece := source.read(min(PIECE_BYTES, left))):
        target.write(piece)
        left -= len(piece)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


__all__ = ["KeptBinaries"]
