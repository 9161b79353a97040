"""Backups at rest: sealed with AES-256-GCM (Tink's streaming AEAD), each naming its key; old keys open old backups (B7)."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from upkeep.errors import BackupError, BadInput

FORMAT = "upkeep-backup/1"
PIECE_BYTES = 1024**2
_HEADER_BYTES = 64
_KEY_ID = re.compile(r"\d{1,10}")
_CURRENT = "current"


class BackupKeys:
    """The keys of this controller's backups: made at first use, one file each, the one in use named by `current`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._beginning = threading.Lock()

    def current(self) -> str:
        """The id of the key that new backups are sealed with."""
        with self._beginning:
            if not (self.folder / _CURRENT).exists():
                self._begin()
        return (self.folder / _CURRENT).read_text().strip()

    def _begin(self) -> None:
        """The first key; of two processes that make one, one gives way."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = self._make()
        try:
            os.link(self._named(made), self.folder / _CURRENT)
        except FileExistsError:
            self._file(made).unlink()
        self._named(made).unlink()

    def rotate(self) -> str:
        """Seal with a new key from here on; returns its id. The old ones still open what they sealed."""
        self.current()
        made = self._make()
        self._named(made).replace(self.folder / _CURRENT)
        return made

    def retire(self, key: str) -> Path:
        """Put a key away: what it sealed cannot be opened any more until the file is put back; returns where it lies.

        Raises:
            BadInput: there is no such key, or it is the one in use.
        """
        if key == self.current() or not self._file(key).exists():
            known = ", ".join(self.ids()) or "none"
            raise BadInput(
                "this key cannot be retired",
                found=key,
                allowed=f"one of {known} that is not in use ({self.current()})",
                remedy="upkeep backups rotate-key first",
            )
        away = self._file(key).with_suffix(".retired")
        self._file(key).replace(away)
        return away

    def ids(self) -> list[str]:
        """All keys that open backups."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def sealing(self, file: BinaryIO, subject: str) -> BinaryIO:
        """A file to write to: what arrives in `file` is sealed, for this subject alone; closing it closes `file`."""
        key = self.current()
        file.write(f"{FORMAT} {key}\n".encode())
        return self._primitive(key).new_encrypting_stream(file, _bound_to(subject))  # type: ignore[no-any-return, attr-defined]

    def opened(self, path: Path, subject: str) -> Iterator[bytes]:
        """A backup's own bytes, in pieces of 1 MiB; one from before backups were sealed as it is.

        Raises:
            BackupError: its key is not here, or it is damaged, cut, or another host's or run's.
        """
        with path.open("rb") as file:
            first = file.readline(_HEADER_BYTES)
            if not first.startswith(FORMAT.encode()):
                file.seek(0)
                yield from iter(lambda: file.read(PIECE_BYTES), b"")
                return
            key = first.decode(errors="replace").removeprefix(FORMAT).strip()
            yield from self._unsealed(path, file, key, subject)

    def _unsealed(self, path: Path, file: BinaryIO, key: str, subject: str) -> Iterator[bytes]:
        from tink import TinkError  # noqa: PLC0415 - protobuf is not needed to start

        stream = self._primitive(key, path).new_decrypting_stream(file, _bound_to(subject))  # type: ignore[attr-defined]
        while True:
            try:
                piece = stream.read(PIECE_BYTES)
            except TinkError as error:
                raise BackupError(
                    f"{path} is not what key {key} sealed as the backup of {subject}: it is damaged, cut, or another one",
                    remedy="take another backup of this host, or an older run's",
                ) from error
            if not piece:
                return
            yield piece

    def _primitive(self, key: str, path: Path | None = None) -> object:
        import tink  # noqa: PLC0415 - protobuf is not needed to start
        from tink import json_proto_keyset_format, secret_key_access, streaming_aead  # noqa: PLC0415

        streaming_aead.register()
        if not _KEY_ID.fullmatch(key) or not self._file(key).exists():
            raise self._without_key(key, path)
        try:
            handle = json_proto_keyset_format.parse(self._file(key).read_text(), secret_key_access.TOKEN)
            return handle.primitive(streaming_aead.StreamingAead)
        except tink.TinkError as error:
            raise BackupError(
                f"{self._file(key)} is not a backup key", remedy="put the key back from its safe copy"
            ) from error

    def _without_key(self, key: str, path: Path | None) -> BackupError:
        retired = self._file(key).with_suffix(".retired") if _KEY_ID.fullmatch(key) else None
        where = f"it was retired: {retired}" if retired and retired.exists() else f"keys here: {', '.join(self.ids())}"
        return BackupError(
            f"{path or 'a backup'} is sealed with key {key or 'unknown'}, which is not here ({where})",
            remedy=f"put key {key} back as {self._file(key)}" if retired else "the file's first line is damaged",
        )

    def _make(self) -> str:
        import tink  # noqa: PLC0415 - protobuf is not needed to start
        from tink import json_proto_keyset_format, secret_key_access, streaming_aead  # noqa: PLC0415

        streaming_aead.register()
        handle = tink.new_keyset_handle(streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB)
        key = str(handle.keyset_info().primary_key_id)
        self._write(self._file(key), json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN))
        self._write(self._named(key), key)
        return key

    def _write(self, path: Path, text: str) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _named(self, key: str) -> Path:
        return self.folder / f"{key}.next"


def _bound_to(subject: str) -> bytes:
    return f"{FORMAT}\0{subject}".encode()
