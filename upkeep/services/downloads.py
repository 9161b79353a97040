"""Artifacts into the cache: resumable, bounded in size and time, hashed on the way, put in place by one rename."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx

from upkeep.errors import ArtifactError, ChecksumMismatch, ServiceError
from upkeep.services.web import Limits, opened, public, run_within, trust_store

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_OK, _PARTIAL, _RANGE_REFUSED = 200, 206, 416
_BLOCK_BYTES = 1024**2


@dataclass(frozen=True)
class Patience:
    """How long a download may take: `total` for all attempts, at least `bytes_per_second` over every `watched` period."""

    total: timedelta = timedelta(minutes=30)
    connect: timedelta = timedelta(seconds=10)
    idle: timedelta = timedelta(seconds=30)
    bytes_per_second: int = 4096
    watched: timedelta = timedelta(seconds=30)
    attempts: int = 4
    pause: timedelta = timedelta(seconds=1)


@dataclass(frozen=True)
class Wanted:
    """What must come: an address, an exact size in bytes and a SHA-256 in hex."""

    url: str
    size_bytes: int
    sha256: str


class _StartOver(Exception):
    """What lies here does not continue into what the server has."""


def fetched(wanted: Wanted, cache: Path, *, ca: str | Path = "", patience: Patience | None = None) -> Path:
    """The wanted file in `cache`, downloaded unless it is already there; safe to call from many processes at once.

    Raises:
        ChecksumMismatch: what the server sends is not what the signed manifest names; nothing of it is kept.
        ArtifactError: the server or the disk failed; what came so far is kept and continued next time.
        BadInput: the CA file cannot be used.
    """
    with _reserved(wanted, cache) as target:
        if not intact(target, wanted):
            _Download(wanted, target, str(ca), patience or Patience()).run()
        return target


def copied(source: Path, wanted: Wanted, cache: Path) -> Path:
    """The wanted file in `cache`, copied from this machine unless it is already there.

    Raises:
        ChecksumMismatch: the file is not what the signed manifest names.
        ArtifactError: it cannot be read or written.
    """
    with _reserved(wanted, cache) as target:
        if intact(target, wanted):
            return target
        if not source.is_file():
            raise ArtifactError(f"{source}: there is no such file; do: put the artifact beside its manifest")
        if source.stat().st_size != wanted.size_bytes:
            raise _mismatch(str(source), f"{source.stat().st_size} bytes", f"{wanted.size_bytes} bytes")
        part = target.with_suffix(".copy")
        shutil.copyfile(source, part)
        _put_in_place(part, target, wanted, str(source))
        return target


def intact(path: Path, wanted: Wanted) -> bool:
    """Whether a file is there and is exactly what is wanted."""
    return path.is_file() and path.stat().st_size == wanted.size_bytes and _sha256(path) == wanted.sha256


@contextmanager
def _reserved(wanted: Wanted, cache: Path) -> Iterator[Path]:
    """The file's place in the cache, with everyone else kept out until done."""
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (cache / f"{wanted.sha256}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield cache / wanted.sha256
    except OSError as error:
        raise ArtifactError(f"{cache}: {error.strerror or error}; do: look at space and permissions") from error


class _Download:
    """One file from one server, in as many attempts as patience allows."""

    def __init__(self, wanted: Wanted, target: Path, ca: str, patience: Patience) -> None:
        self._wanted, self._target, self._patience = wanted, target, patience
        self._part, self._origin = target.with_suffix(".part"), target.with_suffix(".origin")
        self._source = hashlib.sha256(wanted.url.encode()).hexdigest()  # the address itself may hold a password
        self._trust = trust_store(ca)
        self._deadline = time.monotonic() + patience.total.total_seconds()

    def run(self) -> None:
        for attempt in range(1, self._patience.attempts + 1):
            resumed = self._part.exists()
            try:
                self._attempt()
                _put_in_place(self._part, self._target, self._wanted, public(self._wanted.url))
            except _StartOver:
                self._forget()
            except ChecksumMismatch:
                self._forget()
                if not resumed:
                    raise
            except ArtifactError:
                if attempt == self._patience.attempts or self._left() <= self._patience.pause.total_seconds():
                    raise
                time.sleep(self._patience.pause.total_seconds())
            else:
                self._origin.unlink(missing_ok=True)
                return
        raise ArtifactError(f"{public(self._wanted.url)}: the file changes on the server while it is being fetched")

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _forget(self) -> None:
        self._part.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)

    def _attempt(self) -> None:
        offset, validator = self._kept()
        if offset == self._wanted.size_bytes:
            return
        try:
            run_within(
                timedelta(seconds=max(0.0, self._left())), self._wanted.url, lambda: self._ask(offset, validator)
            )
        except ServiceError as error:
            raise ArtifactError(f"{error}; do: look at the server and the way to it, then run again") from error

    def _kept(self) -> tuple[int, str]:
        """How much of the file lies here and what the server called that version; nothing if that is not certain."""
        try:
            origin = json.loads(self._origin.read_text())
            size = self._part.stat().st_size
        except (OSError, ValueError):
            self._forget()
            return 0, ""
        if origin.get("source") != self._source or not origin.get("validator") or size > self._wanted.size_bytes:
            self._forget()
            return 0, ""
        return size, str(origin["validator"])

    async def _ask(self, offset: int, validator: str) -> None:
        headers = {"Range": f"bytes={offset}-", "If-Range": validator} if offset else {}
        patience = self._patience
        limits = Limits(patience.connect, patience.idle, patience.total)
        async with opened(self._wanted.url, headers, self._trust, limits) as response:
            start = self._start(response, offset)
            self._check_length(response, start)
            self._origin.write_text(json.dumps({"source": self._source, "validator": _validator(response)}))
            with self._part.open("r+b" if start else "wb") as file:
                file.seek(start)
                await self._take(response, file.write, start)

    def _start(self, response: httpx.Response, offset: int) -> int:
        """At which byte the server's answer begins."""
        status = response.status_code
        if offset and status == _RANGE_REFUSED:
            raise _StartOver
        if status not in {_OK, _PARTIAL} or (status == _PARTIAL and not offset):
            raise ArtifactError(f"{public(self._wanted.url)}: the server answered with status {status}")
        if status == _OK:
            return 0
        stated = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(stated.strip())
        size = str(self._wanted.size_bytes)
        if match is None or int(match[1]) != offset or match[3] not in {size, "*"} or int(match[2]) >= int(size):
            self._forget()
            raise ArtifactError(
                f"{public(self._wanted.url)}: asked for bytes from {offset} of {size}, the server sent '{stated[:80]}'"
            )
        return offset

    def _check_length(self, response: httpx.Response, start: int) -> None:
        stated = response.headers.get("Content-Length", "")
        expected = self._wanted.size_bytes - start
        if stated.isdecimal() and response.status_code == _OK and int(stated) != expected:
            raise _mismatch(public(self._wanted.url), f"{stated} bytes", f"{expected} bytes")

    async def _take(self, response: httpx.Response, write: Callable[[bytes], int], start: int) -> None:
        size, began, counted = start, time.monotonic(), start
        async for piece in response.aiter_raw():
            size += len(piece)
            if size > self._wanted.size_bytes:
                raise _mismatch(public(self._wanted.url), "more bytes than that", f"{self._wanted.size_bytes} bytes")
            write(piece)
            passed = time.monotonic() - began
            if passed >= self._patience.watched.total_seconds():
                self._check_rate((size - counted) / passed)
                began, counted = time.monotonic(), size
        if size < self._wanted.size_bytes:
            raise ArtifactError(
                f"{public(self._wanted.url)}: the connection ended after {size} of {self._wanted.size_bytes} bytes"
            )

    def _check_rate(self, rate: float) -> None:
        least = self._patience.bytes_per_second
        if rate < least:
            raise ArtifactError(
                f"{public(self._wanted.url)}: too slow, {rate:.0f} of at least {least} bytes per second"
            )


def _validator(response: httpx.Response) -> str:
    """What If-Range may carry: a strong ETag, else the date of the last change, else nothing."""
    etag = str(response.headers.get("ETag", ""))
    return etag if etag and not etag.startswith("W/") else str(response.headers.get("Last-Modified", ""))


def _put_in_place(part: Path, target: Path, wanted: Wanted, source: str) -> None:
    found = _sha256(part)
    if part.stat().st_size != wanted.size_bytes or found != wanted.sha256:
        part.unlink(missing_ok=True)
        raise _mismatch(source, f"SHA-256 {found}", f"SHA-256 {wanted.sha256}")
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mismatch(source: str, found: str, allowed: str) -> ChecksumMismatch:
    return ChecksumMismatch(
        f"{source}: not the file that the signed manifest names; found: {found}; allowed: {allowed}; "
        "do: publish the right file, or a new release"
    )
