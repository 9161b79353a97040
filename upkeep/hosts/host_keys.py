"""Strict host keys: reads known_hosts files as OpenSSH does and judges the key a host presents."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import functools
import hashlib
import hmac
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from upkeep.errors import BadInput, HostKeyRejected

_SSH_PORT = 22
_REVOKED, _AUTHORITY = "@revoked", "@cert-authority"
_HASHED_PARTS = 4


@dataclass(frozen=True)
class Presented:
    """The key a host showed, and where."""

    host: str
    address: str
    port: int
    key_type: str
    blob: bytes
    via: str = ""

    @property
    def fingerprint(self) -> str:
        """`SHA256:…` as ssh-keygen prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class Line:
    """One line of a known_hosts file."""

    file: Path
    number: int
    marker: str
    patterns: tuple[str, ...]
    key_type: str
    key: str

    def holds(self, blob: bytes) -> bool:
        """Whether this line names exactly this key."""
        try:
            return base64.b64decode(self.key) == blob
        except binascii.Error:
            return False

    def fits(self, name: str) -> bool:
        """Whether this line is about `name` (lower case, `[name]:port` where the port is not 22)."""
        if any(fnmatch.fnmatchcase(name, _glob(p[1:])) for p in self.patterns if p.startswith("!")):
            return False
        return any(
            _hashed_fits(p, name) if p.startswith("|") else fnmatch.fnmatchcase(name, _glob(p)) for p in self.patterns
        )


@dataclass
class KnownHosts:
    """Lines of one or more known_hosts files; plain names are found without reading through all of them."""

    files: tuple[Path, ...]
    plain: dict[str, list[Line]] = field(default_factory=dict)
    other: list[Line] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Take in one line."""
        if any(pattern[0] in "|!" or "*" in pattern or "?" in pattern for pattern in line.patterns):
            self.other.append(line)
            return
        for pattern in line.patterns:
            self.plain.setdefault(pattern, []).append(line)

    def about(self, address: str, port: int) -> list[Line]:
        """Lines about a host, those that name the port first; without such a line, those that name the host alone."""
        for name in dict.fromkeys((marked(address, port), address.lower())):
            lines = [*self.plain.get(name, ()), *(line for line in self.other if line.fits(name))]
            if any(not line.marker for line in lines):
                return [*lines, *self._revoked(address.lower())]
        return [*self._marked(marked(address, port)), *self._marked(address.lower())]

    def key_types(self, address: str, port: int) -> tuple[str, ...]:
        """Types of the keys known for a host, for the host to be asked for one of them."""
        return tuple(dict.fromkeys(line.key_type for line in self.about(address, port) if not line.marker))

    def check(self, presented: Presented) -> None:
        """Accept the presented key or say why not.

        Raises:
            HostKeyRejected: the key is unknown, changed, revoked or of another type than the known ones.
        """
        lines = self.about(presented.address, presented.port)
        if revoked := [line for line in lines if line.marker == _REVOKED and line.holds(presented.blob)]:
            raise _rejected(
                presented,
                f"presented a REVOKED host key ({_where(revoked)})",
                "do not log in; find out who answers at this address, then give the host a new key",
            )
        trusted = [line for line in lines if not line.marker]
        if any(line.holds(presented.blob) for line in trusted):
            return
        if same_type := [line for line in trusted if line.key_type == presented.key_type]:
            raise _rejected(
                presented,
                f"presented a CHANGED host key; {_where(same_type)} holds another one",
                self._replace(presented, same_type[0].file),
            )
        if trusted:
            known = ", ".join(dict.fromkeys(line.key_type for line in trusted))
            raise _rejected(
                presented,
                f"presented a {presented.key_type} host key, but {_where(trusted)} only knows {known}",
                self._learn(presented),
            )
        note = "; @cert-authority lines are not supported" if any(line.marker == _AUTHORITY for line in lines) else ""
        raise _rejected(
            presented,
            f"presented an UNKNOWN host key; no line in {_files(self.files)} fits{note}",
            self._learn(presented),
        )

    def _revoked(self, name: str) -> list[Line]:
        return [line for line in self._marked(name) if line.marker == _REVOKED]

    def _marked(self, name: str) -> list[Line]:
        return [line for line in [*self.plain.get(name, ()), *self.other] if line.marker and line.fits(name)]

    def _learn(self, presented: Presented) -> str:
        file = shlex.quote(str(self.files[0]))
        scan = shlex.join(
            ["ssh-keyscan", "-p", str(presented.port), "-t", _scan_type(presented.key_type), presented.address]
        )
        if presented.via:
            scan = shlex.join(["ssh", presented.via, scan])
        return f"compare the fingerprint with the one on the host's console, then: {scan} >> {file}"

    def _replace(self, presented: Presented, file: Path) -> str:
        name = marked(presented.address, presented.port)
        return f"only if the host was reinstalled: {shlex.join(['ssh-keygen', '-R', name, '-f', str(file)])}; then {self._learn(presented)}"


def load_known_hosts(files: Iterable[Path]) -> KnownHosts:
    """The lines of all these files; a file that is not there holds none. Each version of a file is read once per process.

    Raises:
        BadInput: a file cannot be read.
    """
    return _merged(tuple((file, _version(file)) for file in files))


def marked(address: str, port: int) -> str:
    """A host's name in a known_hosts file: `name`, or `[name]:port` for any other port than 22."""
    name = address.lower()
    return name if port == _SSH_PORT else f"[{name}]:{port}"


@functools.lru_cache(maxsize=64)
def _merged(versions: tuple[tuple[Path, tuple[int, int]], ...]) -> KnownHosts:
    known = KnownHosts(tuple(file for file, _ in versions))
    for file, version in versions:
        for line in _lines(file, version):
            known.add(line)
    return known


@functools.lru_cache(maxsize=64)
def _lines(file: Path, version: tuple[int, int]) -> tuple[Line, ...]:
    if version == (0, 0):
        return ()
    try:
        text = file.read_text("utf-8", "replace")
    except OSError as error:
        raise BadInput(
            f"known_hosts file {file} cannot be read",
            found=error.strerror,
            allowed="a readable text file",
            remedy=f"chmod u+r {shlex.quote(str(file))}",
        ) from error
    parsed = (_parse(file, number, line) for number, line in enumerate(text.splitlines(), 1))
    return tuple(line for line in parsed if line is not None)


def _parse(file: Path, number: int, text: str) -> Line | None:
    parts = text.split()
    if not parts or parts[0].startswith("#"):
        return None
    marker = parts.pop(0) if parts[0].startswith("@") else ""
    if len(parts) < 3:  # noqa: PLR2004 - names, type, key
        return None
    names = tuple(name if name.startswith("|") else name.lower() for name in parts[0].split(",") if name)
    return Line(file, number, marker, names, parts[1], parts[2]) if names else None


def _version(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _hashed_fits(pattern: str, name: str) -> bool:
    parts = pattern.split("|")
    if len(parts) != _HASHED_PARTS or parts[1] != "1":
        return False
    try:
        salt, wanted = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except binascii.Error:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), wanted)


def _glob(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def _scan_type(key_type: str) -> str:
    return {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}.get(key_type, "ecdsa")


def _where(lines: list[Line]) -> str:
    return ", ".join(f"{line.file}:{line.number}" for line in lines[:3])


def _files(files: tuple[Path, ...]) -> str:
    return ", ".join(map(str, files)) or "no known_hosts file"


def _rejected(presented: Presented, problem: str, remedy: str) -> HostKeyRejected:
    at = f"{marked(presented.address, presented.port)} "
    return HostKeyRejected(
        presented.host, at + problem, evidence=f"{presented.key_type} {presented.fingerprint}", remedy=remedy
    )
