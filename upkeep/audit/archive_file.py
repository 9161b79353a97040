"""The file of an archive: a zip of events with what seals them, and a verifier; written whole, read back, opened as a history."""

from __future__ import annotations

import hashlib
import json
import secrets
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from upkeep import __version__
from upkeep.audit.chain import canonical, chained
from upkeep.audit.checkpoint import Checkpoint
from upkeep.audit.database import trouble, writing
from upkeep.audit.evidence import rotations_of, write_zip
from upkeep.audit.history import History
from upkeep.audit.models import ReadModels
from upkeep.audit.signing import KeyFolder, PublicKey
from upkeep.audit.tables import CheckpointRow, EventRow
from upkeep.errors import AuditError

_VERIFIER = resources.files("upkeep.audit") / "pack" / "verify.py"
_READ_ME = """Events {first} to {upto} of an Upkeep history, as they were written; their hashes are still in that history.

To prove them: python3 verify.py {name} --key KEYID.pem [--checkpoints DIR]
To read a run: upkeep history archived {name}; upkeep history show RUN --archive {name}; upkeep history export RUN --archive {name}
"""
_EVENTS = insert(EventRow.__table__)  # type: ignore[attr-defined]
_EVENTS_FILE = "events.jsonl"
_AT_ONCE = 1000
_UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Line(BaseModel):
    """One event as it is in the chain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seq: int
    prev_hash: str
    hash: str
    body: str


@dataclass(frozen=True)
class Archive:
    """What a file holds; every hash was reckoned anew, and all are what its checkpoints were signed over."""

    path: Path
    sha256: str
    size_bytes: int
    first_at: str
    last_at: str
    runs: Sequence[dict[str, Any]]
    checkpoints: Sequence[Checkpoint]

    @property
    def first_seq(self) -> int:
        """Number of its first event."""
        return self.checkpoints[0].upto_seq - self.checkpoints[0].n + 1

    @property
    def upto_seq(self) -> int:
        """Number of its last event."""
        return self.checkpoints[-1].upto_seq

    def lines(self) -> Iterator[Line]:
        """Its events in order, from the file, one after the other; each is proved again, and at the end that they are all.

        Raises:
            AuditError: the file cannot be read, or holds other events by now.
        """
        with _pack(self.path) as pack:
            yield from _proved(self.path, pack, self.checkpoints)


def write_archive(
    history: History, keys: KeyFolder, sealing: Sequence[Checkpoint], runs: Sequence[dict[str, Any]], folder: Path
) -> Path:
    """Write the events that `sealing` covers to a file in `folder` that nobody else writes.

    Raises:
        AuditError: the history cannot be read, or the file cannot be written.
    """
    first, upto = sealing[0].upto_seq - sealing[0].n + 1, sealing[-1].upto_seq
    out = folder / f"upkeep-history-{first:010d}-{upto:010d}-{secrets.token_hex(4)}.zip"
    files = {
        "README.txt": _READ_ME.format(first=first, upto=upto, name=out.name),
        "runs.json": json.dumps(list(runs), indent=1) + "\n",
        "checkpoints.json": json.dumps([one.model_dump() for one in sealing], indent=1) + "\n",
        "rotations.json": rotations_of(history),
        "verify.py": _VERIFIER.read_text("utf-8"),
        **{f"{key.id}.pem": key.pem for key in keys.publics()},
    }
    told = {"what": "upkeep history archive v1", "first": first, "last": upto, "upkeep": __version__}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AuditError(f"the archive cannot be written to {folder}: {error}") from error
    with history.event_rows(after=first - 1, upto=upto) as rows:
        lines = (canonical(row.model_dump(include={"seq", "prev_hash", "hash", "body"})) + "\n" for row in rows)
        write_zip(out, _listed([(_EVENTS_FILE, lines), *sorted(files.items())], keys, told))
    return out


def _listed(
    files: Iterable[tuple[str, str | Iterable[str]]], keys: KeyFolder, told: dict[str, Any]
) -> Iterator[tuple[str, str | Iterable[str]]]:
    """The files, then the signed list of them: by then all were read once."""
    digests: dict[str, str] = {}
    for name, content in files:
        yield name, _hashed(digests, name, [content] if isinstance(content, str) else content)
    key = keys.current()
    told = told | {"made_at": datetime.now(UTC).isoformat(), "key_id": key.id, "files": digests}
    manifest = canonical(told)
    yield "manifest.json", manifest
    yield "manifest.sig", key.sign(manifest)


def _hashed(digests: dict[str, str], name: str, texts: Iterable[str]) -> Iterator[str]:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
        yield text
    digests[name] = digest.hexdigest()


def read_archive(path: Path, keys: Sequence[PublicKey]) -> Archive:
    """Read an archive, and prove it: signed by one of `keys`, every hash right, all as the checkpoints were signed over.

    Its events are read one after the other, and none is kept.

    Raises:
        AuditError: it cannot be read, or is not what was signed; the first thing is named.
    """
    with _pack(path) as pack:
        manifest = _manifest(path, pack, {key.id: key for key in keys})
        checkpoints = [Checkpoint.model_validate(one) for one in json.loads(pack.read("checkpoints.json"))]
        runs = json.loads(pack.read("runs.json"))
        ends: list[Line] = []
        for line in _proved(path, pack, checkpoints):
            ends[1:] = [line]
        told = [manifest["first"], manifest["last"]]
        _need([ends[0].seq, ends[-1].seq] == told, path, "these are not the events the list names")
        first_at, last_at = (str(json.loads(line.body)["at"]) for line in (ends[0], ends[-1]))
        size_bytes, sha256 = _sum_of(path)
    return Archive(path, sha256, size_bytes, first_at, last_at, runs, checkpoints)


@contextmanager
def opened(archive: Archive) -> Iterator[History]:
    """The archive as a history of its own, in a database that is thrown away; to read, not to go on with."""
    with TemporaryDirectory(prefix="upkeep-archive-") as folder:
        url = f"sqlite:///{folder}/archive.db"
        history = History.open(url)
        try:
            engine, _ = history.database
            with writing(engine) as connection:
                _fill(Session(bind=connection, join_transaction_mode="control_fully"), archive)
            yield history
        except SQLAlchemyError as error:
            raise trouble(url, error) from error
        finally:
            history.close()


def _fill(session: Session, archive: Archive) -> None:
    models = ReadModels(session.connection(), session)
    session.add_all(CheckpointRow(**one.model_dump()) for one in archive.checkpoints)
    for part in parts(archive.lines()):
        for line in part:
            models.take(json.loads(line.body))
        models.flush()
        session.flush()
        session.expunge_all()
        session.connection().execute(_EVENTS, [row_of(line) for line in part])


def parts(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """A thousand at a time."""
    rest = iter(lines)
    while part := list(islice(rest, _AT_ONCE)):
        yield part


def row_of(line: Line) -> dict[str, Any]:
    """The row of the table of events."""
    event = json.loads(line.body)
    return line.model_dump() | {name: event[name] for name in ("at", "run", "action", "host")}


@contextmanager
def _pack(path: Path) -> Iterator[zipfile.ZipFile]:
    """The file as a zip.

    Raises:
        AuditError: it is none, or not one of an archive.
    """
    try:
        with zipfile.ZipFile(path) as pack:
            yield pack
    except (*_UNREADABLE, LookupError, TypeError, ValueError) as error:
        raise AuditError(f"{path} cannot be read as an archive of a history: {error}") from error


def _manifest(path: Path, pack: zipfile.ZipFile, keys: dict[str, PublicKey]) -> dict[str, Any]:
    text = pack.read("manifest.json").decode()
    manifest: dict[str, Any] = json.loads(text)
    key = keys.get(manifest["key_id"])
    _need(key is not None, path, f"it is signed with key {manifest['key_id']}, which is not one to trust")
    right = key is not None and key.signed(text, pack.read("manifest.sig").decode())
    _need(right, path, "its list of files was changed")
    for name, digest in manifest["files"].items():
        with pack.open(name) as file:
            _need(_sha256(file) == digest, path, f"{name} in it was changed")
    return manifest


def _proved(path: Path, pack: zipfile.ZipFile, checkpoints: Sequence[Checkpoint]) -> Iterator[Line]:
    """Its events: each follows the one before, and those of each checkpoint are what it was signed over."""
    with pack.open(_EVENTS_FILE) as file:
        lines = _chained(path, (Line.model_validate_json(text) for text in file))
        for one in checkpoints:
            digest, seq = hashlib.sha256(), one.upto_seq - one.n
            for line in islice(lines, one.n):
                digest.update(f"{line.hash}\n".encode())
                seq = line.seq
                yield line
            sealed = seq == one.upto_seq and digest.hexdigest() == one.hashes_sha256
            _need(sealed, path, f"events up to {one.upto_seq} are not those that checkpoint {one.id} was signed over")
        more = next(lines, None)
        _need(more is None, path, f"event {more.seq if more else ''} is covered by no checkpoint")


def _chained(path: Path, lines: Iterable[Line]) -> Iterator[Line]:
    before: Line | None = None
    for line in lines:
        seq, prev = (before.seq + 1, before.hash) if before else (line.seq, line.prev_hash)
        _need(line.seq == seq and line.prev_hash == prev, path, f"event {seq} does not follow the one before it")
        right = line.body and chained(seq, line.body, prev) == line.hash
        _need(right, path, f"the text of event {seq} is not the one that was written")
        before = line
        yield line


def _sum_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of the whole file."""
    with path.open("rb") as file:
        return path.stat().st_size, _sha256(file)


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while part := file.read(1 << 16):
        digest.update(part)
    return digest.hexdigest()


def _need(right: object, path: Path, said: str) -> None:
    if not right:
        raise AuditError(f"{path} is not a good archive: {said}")
