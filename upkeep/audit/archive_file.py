"""The file of an archive: a zip of events with what seals them, and a verifier; written whole, read back, opened as a history."""

from __future__ import annotations

import hashlib
import json
import secrets
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from upkeep import __version__
from upkeep.audit.chain import canonical, chained
from upkeep.audit.checkpoint import Checkpoint, digest_of
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
    lines: Sequence[Line]
    runs: Sequence[dict[str, Any]]
    checkpoints: Sequence[Checkpoint]

    @property
    def first_seq(self) -> int:
        """Number of its first event."""
        return self.lines[0].seq

    @property
    def upto_seq(self) -> int:
        """Number of its last event."""
        return self.lines[-1].seq


def write_archive(
    history: History, keys: KeyFolder, sealing: Sequence[Checkpoint], runs: Sequence[dict[str, Any]], folder: Path
) -> Path:
    """Write the events that `sealing` covers to a file in `folder` that nobody else writes.

    Raises:
        AuditError: the history cannot be read, or the file cannot be written.
    """
    first, upto = sealing[0].upto_seq - sealing[0].n + 1, sealing[-1].upto_seq
    out = folder / f"upkeep-history-{first:010d}-{upto:010d}-{secrets.token_hex(4)}.zip"
    with history.event_rows(after=first - 1, upto=upto) as rows:
        lines = "".join(canonical(row.model_dump(include={"seq", "prev_hash", "hash", "body"})) + "\n" for row in rows)
    files = {
        "README.txt": _READ_ME.format(first=first, upto=upto, name=out.name),
        "events.jsonl": lines,
        "runs.json": json.dumps(list(runs), indent=1) + "\n",
        "checkpoints.json": json.dumps([one.model_dump() for one in sealing], indent=1) + "\n",
        "rotations.json": rotations_of(history),
        "verify.py": _VERIFIER.read_text("utf-8"),
        **{f"{key.id}.pem": key.pem for key in keys.publics()},
    }
    key = keys.current()
    manifest = canonical(
        {
            "what": "upkeep history archive v1",
            "first": first,
            "last": upto,
            "made_at": datetime.now(UTC).isoformat(),
            "upkeep": __version__,
            "key_id": key.id,
            "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()},
        }
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AuditError(f"the archive cannot be written to {folder}: {error}") from error
    write_zip(out, files | {"manifest.json": manifest, "manifest.sig": key.sign(manifest)})
    return out


def read_archive(path: Path, keys: Sequence[PublicKey]) -> Archive:
    """Read an archive, and prove it: signed by one of `keys`, every hash right, all as the checkpoints were signed over.

    Raises:
        AuditError: it cannot be read, or is not what was signed; the first thing is named.
    """
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(path) as pack:
            files = {name: pack.read(name) for name in pack.namelist()}
        manifest = _manifest(path, files, {key.id: key for key in keys})
        lines = [Line.model_validate_json(text) for text in files["events.jsonl"].decode().split("\n") if text]
        checkpoints = [Checkpoint.model_validate(one) for one in json.loads(files["checkpoints.json"])]
        runs = json.loads(files["runs.json"])
        _need(
            [lines[0].seq, lines[-1].seq] == [manifest["first"], manifest["last"]],
            path,
            "these are not the events the list names",
        )
    except (OSError, zipfile.BadZipFile, LookupError, TypeError, ValueError, ValidationError) as error:
        raise AuditError(f"{path} cannot be read as an archive of a history: {error}") from error
    _prove(path, lines, checkpoints)
    return Archive(path, hashlib.sha256(content).hexdigest(), len(content), lines, runs, checkpoints)


@contextmanager
def opened(archive: Archive) -> Iterator[History]:
    """The archive as a history of its own, in a database that is thrown away; to read, not to go on with."""
    with TemporaryDirectory(prefix="upkeep-archive-") as folder:
        url = f"sqlite:///{folder}/archive.db"
        history = History.open(url)
        try:
            engine, _ = history.database
            with writing(engine) as connection:
                session = Session(bind=connection, join_transaction_mode="control_fully")
                models = ReadModels(session)
                for line in archive.lines:
                    models.take(json.loads(line.body))
                models.flush()
                session.add_all(CheckpointRow(**one.model_dump()) for one in archive.checkpoints)
                session.flush()
                connection.execute(_EVENTS, [row_of(line) for line in archive.lines])
            yield history
        except SQLAlchemyError as error:
            raise trouble(url, error) from error
        finally:
            history.close()


def row_of(line: Line) -> dict[str, Any]:
    """The row of the table of events."""
    event = json.loads(line.body)
    return line.model_dump() | {name: event[name] for name in ("at", "run", "action", "host")}


def _manifest(path: Path, files: dict[str, bytes], keys: dict[str, PublicKey]) -> dict[str, Any]:
    text = files["manifest.json"].decode()
    manifest: dict[str, Any] = json.loads(text)
    key = keys.get(manifest["key_id"])
    _need(key is not None, path, f"it is signed with key {manifest['key_id']}, which is not one to trust")
    _need(key is not None and key.signed(text, files["manifest.sig"].decode()), path, "its list of files was changed")
    for name, digest in manifest["files"].items():
        _need(hashlib.sha256(files[name]).hexdigest() == digest, path, f"{name} in it was changed")
    return manifest


def _prove(path: Path, lines: Sequence[Line], checkpoints: Sequence[Checkpoint]) -> None:
    seq, prev = lines[0].seq, lines[0].prev_hash
    for line in lines:
        _need(line.seq == seq and line.prev_hash == prev, path, f"event {seq} does not follow the one before it")
        right = line.body and chained(seq, line.body, prev) == line.hash
        _need(right, path, f"the text of event {seq} is not the one that was written")
        seq, prev = seq + 1, line.hash
    start = 0
    for one in checkpoints:
        part = [line.hash for line in lines[start : start + one.n]]
        sealed = len(part) == one.n and digest_of(part) == one.hashes_sha256
        _need(sealed, path, f"events up to {one.upto_seq} are not those that checkpoint {one.id} was signed over")
        start += one.n
    _need(start == len(lines), path, f"event {lines[0].seq + start} is covered by no checkpoint")


def _need(right: object, path: Path, said: str) -> None:
    if not right:
        raise AuditError(f"{path} is not a good archive: {said}")
