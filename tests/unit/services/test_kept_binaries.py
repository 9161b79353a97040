"""Old binaries on the controller: one copy for many hosts, and whole archives again for people and hosts (issue 4: 2; docs/adr/0012)."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from upkeep.errors import BackupError
from upkeep.services import kept_binaries
from upkeep.services.kept_binaries import KeptBinaries

BINARY = b"#!/bin/sh\n" + bytes(3000)
SHA256 = hashlib.sha256(BINARY).hexdigest()
LINE = f"{SHA256}\tbinary\tf\t751\t7:8\t{len(BINARY)}\t1700000000.5\t./usr/bin/agent"


@pytest.fixture
def kept(tmp_path: Path) -> KeptBinaries:
    return KeptBinaries(tmp_path / "binaries")


def archive(folder: Path, manifest: str = LINE) -> bytes:
    """What a host streams: made by the same tar, the last file ending in zeros."""
    (folder / "upkeep-backup").mkdir()
    (folder / "upkeep-backup/manifest").write_text(f"-\tconfig\td\t755\t0:0\t0\t0\t./etc\n{manifest}\n")
    (folder / "zeros").write_bytes(b"x" + bytes(5000))
    words = ["tar", "-czf", "-", "-C", folder, "upkeep-backup", "zeros"]
    return subprocess.run(words, check=True, capture_output=True).stdout


def test_hosts_with_the_same_binary_send_it_once(kept: KeptBinaries) -> None:
    fetched: list[int] = []

    def fetch(sink: kept_binaries.Sink) -> None:
        fetched.append(1)
        sink(BINARY[:100])
        sink(BINARY[100:])

    threads = [threading.Thread(target=kept.keep, args=(SHA256, fetch)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [1]
    assert [path.name for path in kept.folder.iterdir()] == [SHA256]
    assert (kept.folder / SHA256).read_bytes() == BINARY
    KeptBinaries(kept.folder).keep(SHA256, lambda _sink: pytest.fail("it is here already"))


def test_a_binary_that_is_gone_or_spoilt_is_fetched_again(kept: KeptBinaries) -> None:
    kept.keep(SHA256, lambda sink: sink(BINARY))
    (kept.folder / SHA256).unlink()
    kept.keep(SHA256, lambda sink: sink(BINARY))
    (kept.folder / SHA256).write_bytes(b"spoilt")
    KeptBinaries(kept.folder).keep(SHA256, lambda sink: sink(BINARY))
    assert (kept.folder / SHA256).read_bytes() == BINARY


def test_another_file_or_a_cut_one_is_never_kept(kept: KeptBinaries) -> None:
    with pytest.raises(BackupError, match="SHA-256"):
        kept.keep(SHA256, lambda sink: sink(BINARY[:-1]))
    assert list(kept.folder.iterdir()) == []
    kept.keep(SHA256, lambda sink: sink(BINARY))


def test_a_slow_host_does_not_hold_up_the_others(kept: KeptBinaries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_binaries, "FIRST_COME_SECONDS", 0.05)
    begun, go_on = threading.Event(), threading.Event()

    def slow(sink: kept_binaries.Sink) -> None:
        begun.set()
        go_on.wait(20)
        sink(BINARY)

    first = threading.Thread(target=kept.keep, args=(SHA256, slow))
    first.start()
    assert begun.wait(20)
    kept.keep(SHA256, lambda sink: sink(BINARY))
    assert (kept.folder / SHA256).read_bytes() == BINARY
    go_on.set()
    first.join()


def test_an_archive_is_put_together_with_its_binary_and_every_tar_reads_it(kept: KeptBinaries, tmp_path: Path) -> None:
    kept.keep(SHA256, lambda sink: sink(BINARY))
    whole = b"".join(kept.put_together(pieces(archive(tmp_path))))
    names = subprocess.run(["tar", "-tzf", "-"], input=whole, check=True, capture_output=True).stdout.split()
    assert names == [b"upkeep-backup/", b"upkeep-backup/manifest", b"zeros", b"./usr/bin/agent"]
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        member = tar.getmember("./usr/bin/agent")
        content, zeros = tar.extractfile(member), tar.extractfile("zeros")
        assert content is not None
        assert zeros is not None
        assert (content.read(), zeros.read()) == (BINARY, b"x" + bytes(5000))
        assert (member.mode, member.uid, member.gid, member.mtime) == (0o751, 7, 8, 1700000000.5)
    assert b"".join(kept.put_together([whole])) == whole


def test_an_archive_without_a_binary_stays_as_it_is(kept: KeptBinaries, tmp_path: Path) -> None:
    plain = archive(tmp_path, manifest="0\tconfig\tf\t644\t0:0\t5001\t0\t./zeros")
    assert b"".join(kept.put_together([plain])) == plain


def test_what_cannot_be_put_together_is_said(kept: KeptBinaries, tmp_path: Path) -> None:
    packed = archive(tmp_path)
    with pytest.raises(BackupError, match=f"not here or damaged: {kept.folder / SHA256}"):
        list(kept.put_together([packed]))
    for broken in (b"", b"rotten", packed[:60]):
        with pytest.raises(BackupError, match="cannot be read"):
            list(kept.put_together([broken]))


def pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 50):
        yield content[start : start + 50]
