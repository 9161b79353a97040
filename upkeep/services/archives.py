"""Release archives judged without unpacking them: what a host's `tar` would do with every member."""

from __future__ import annotations

import fnmatch
import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from upkeep.errors import Place, UntrustedRelease

MAX_MEMBERS = 20_000
MAX_UNPACKED_BYTES = 4 * 1024**3
MAX_RATIO = 100
SMALL_BYTES = 64 * 1024**2
"""Archives may always unpack to this much; larger ones to at most `MAX_RATIO` times their own size."""

_MAX_EXTENSION_BYTES = 64 * 1024
_EXTENSIONS: Final = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_FILES: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})
_KINDS: Final = {
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
_SET_ID = 0o6000
_READ_BYTES = 256 * 1024
_NAMES_SHOWN = 10


@dataclass(frozen=True)
class Member:
    """One file, folder or link of an archive; `name` as archived."""

    name: str
    path: str
    size_bytes: int
    mode: int
    is_file: bool


@dataclass(frozen=True)
class ArchiveListing:
    """A judged archive: its members, the one that is the agent's binary, and what it unpacks to."""

    members: tuple[Member, ...]
    binary: str
    unpacked_bytes: int


def inspect(path: Path, binary_member: str, *, max_unpacked_bytes: int = MAX_UNPACKED_BYTES) -> ArchiveListing:
    """Judge every member of a tar.gz; exactly one file must match `binary_member` (a path or a glob).

    Raises:
        UntrustedRelease: not a complete tar.gz, or a member that must not reach a host; it is named.
    """
    judge = _Judge(path)
    try:
        allowed = min(max_unpacked_bytes, max(SMALL_BYTES, MAX_RATIO * path.stat().st_size))
        with gzip.open(path) as unpacked:
            stream = _Bounded(unpacked, allowed, path)
            _read_members(stream, judge)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        problem = f"is not a complete tar.gz: {str(error).lower() or type(error).__name__}"
        raise UntrustedRelease(problem, place=Place(str(path)), allowed="one whole tar.gz") from error
    except OSError as error:
        raise UntrustedRelease(f"cannot be read: {error.strerror}", place=Place(str(path))) from error
    judge.settle()
    return ArchiveListing(tuple(judge.members), judge.binary(binary_member), stream.count)


def _read_members(stream: _Bounded, judge: _Judge) -> None:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictHeader) as archive:
        for info in archive:
            judge.take(info)
        stream.require_padding(archive.offset)


class _StrictHeader(tarfile.TarInfo):
    """Headers that tarfile passes over in silence end the reading: other tar programs would see other members."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) == tarfile.BLOCKSIZE == buf.count(0):
            return super().frombuf(buf, encoding, errors)
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            message = f"a member's header is damaged or missing ({error})"
            raise tarfile.ReadError(message) from error
        if info.type in _EXTENSIONS and info.size > _MAX_EXTENSION_BYTES:
            message = f"an extension header of {info.size} bytes"
            raise tarfile.ReadError(message)
        if info.name.startswith("/") or ".." in info.name.split("/"):
            message = f"the plain name '{info.name}', an absolute path or one with '..',"
            raise tarfile.ReadError(message)
        return info


class _Bounded(io.RawIOBase):
    """The unpacked stream, which ends with an error before it can fill a disk."""

    def __init__(self, source: gzip.GzipFile, limit: int, path: Path) -> None:
        super().__init__()
        self.count, self._last = 0, b""
        self._source, self._limit, self._path = source, limit, path

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size if size >= 0 else _READ_BYTES)
        self.count += len(piece)
        self._last = piece
        if self.count > self._limit:
            allowed = f"{self._limit} bytes"
            problem = "unpacks to far more than its size"
            raise UntrustedRelease(problem, place=Place(str(self._path)), found="more than that", allowed=allowed)
        return piece

    def require_padding(self, end: int) -> None:
        """From the byte `end` on only zeros may follow; this also reads the gzip checksum."""
        piece = self._last[max(0, len(self._last) - (self.count - end)) :]
        while piece:
            if piece.count(0) != len(piece):
                problem = "holds data behind its end"
                raise UntrustedRelease(problem, place=Place(str(self._path)), allowed="nothing after the last member")
            piece = self.read(_READ_BYTES)


class _Judge:
    """Judges members one by one, then the archive as a whole."""

    def __init__(self, path: Path) -> None:
        self.members: list[Member] = []
        self._path = path
        self._kinds: dict[str, bytes] = {}

    def take(self, info: tarfile.TarInfo) -> None:
        """Judge one member by itself and against those before it."""
        path = self._checked_name(info.name, info.name)
        if len(self.members) >= MAX_MEMBERS:
            raise self._bad("too many members", info.name, f"{MAX_MEMBERS}")
        if path in self._kinds:
            raise self._bad("a name that comes twice", info.name)
        if "size" in info.pax_headers or any(key.startswith("GNU.sparse") for key in info.pax_headers):
            raise self._bad("a size that some tar programs read differently", info.name)
        self._check_type(info, path)
        if info.mode & _SET_ID:
            raise self._bad("a set-uid or set-gid file", info.name, "plain modes such as 0755")
        self._kinds[path] = info.type
        self.members.append(Member(info.name, path, info.size, info.mode & 0o777, info.type in _FILES))

    def settle(self) -> None:
        """Nothing may lie below a file or link: unpacking would write through it."""
        for path in self._kinds:
            for parent in _parents(path):
                if self._kinds.get(parent, tarfile.DIRTYPE) != tarfile.DIRTYPE:
                    raise self._bad(f"a member below '{parent}', which is not a folder", path)

    def binary(self, pattern: str) -> str:
        """The name, as archived, of the one file that matches."""
        wanted = pattern.removeprefix("./")
        hits = [m for m in self.members if fnmatch.fnmatchcase(m.path, wanted)]
        files = [m for m in hits if m.is_file]
        if len(files) == 1 and len(hits) == 1 and files[0].size_bytes:
            return files[0].name
        if len(hits) == 1:
            kind = "an empty file" if files else "not a plain file"
            raise self._bad(f"a binary that is {kind}", hits[0].name, "one plain file that is not empty")
        found = _some(m.name for m in hits) if hits else f"none among {_some(m.name for m in self.members)}"
        raise UntrustedRelease(
            f"exactly one file must match '{pattern}' (installer.binary_member)",
            place=Place(str(self._path)),
            found=found,
            remedy="correct installer.binary_member in the profile, or the archive",
        )

    def _check_type(self, info: tarfile.TarInfo, path: str) -> None:
        if info.type == tarfile.SYMTYPE:
            self._check_symlink(info, path)
        elif info.type == tarfile.LNKTYPE:
            target = self._checked_name(info.linkname, info.name)
            if self._kinds.get(target) not in _FILES:
                raise self._bad(f"a hard link to '{info.linkname}', which is no file before it", info.name)
        elif info.type not in _FILES | {tarfile.DIRTYPE}:
            kind = _KINDS.get(info.type, f"of unknown type {info.type!r}")
            raise self._bad(kind, info.name, "files, folders and links inside the archive")

    def _check_symlink(self, info: tarfile.TarInfo, path: str) -> None:
        """Only leading `..` can be followed without knowing other links, and they must stay inside."""
        parts = [part for part in info.linkname.split("/") if part not in {"", "."}]
        climbs = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
        outside = info.linkname.startswith("/") or climbs > path.count("/") or ".." in parts[climbs:]
        if outside or not info.linkname or not info.linkname.isprintable():
            raise self._bad(
                f"a symbolic link to '{info.linkname}', which leads out", info.name, "links that stay inside"
            )

    def _checked_name(self, name: str, member: str) -> str:
        if name.startswith("/"):
            raise self._bad("an absolute path", member, "relative paths")
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise self._bad("a path with '..'", member, "paths inside the archive")
        if not name or not name.isprintable():
            raise self._bad("a name with control characters", repr(member), "printable names")
        return "/".join(parts)

    def _bad(self, what: str, member: str, allowed: str = "") -> UntrustedRelease:
        remedy = "do not use this archive; ask its publisher for a clean one"
        return UntrustedRelease(
            f"member '{member[:200]}' is refused: {what}", place=Place(str(self._path)), allowed=allowed, remedy=remedy
        )


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMES_SHOWN} more" if len(listed) > _NAMES_SHOWN else ""
    return ", ".join(listed[:_NAMES_SHOWN]) + more
