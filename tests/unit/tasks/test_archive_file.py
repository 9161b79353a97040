"""A backup on its way to the controller's store (fault 25)."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tasks.back_up_host import ArchiveFile
from upkeep.services.sealing import BackupKeys


def test_an_archive_that_could_not_be_written_whole_leaves_nothing(tmp_path: Path) -> None:
    archive = ArchiveFile(tmp_path / "run" / "h1.tar.gz.sealed", BackupKeys(tmp_path / "keys"), "run/h1")
    with pytest.raises(OSError, match="No space"), archive:
        archive.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list((tmp_path / "run").iterdir()) == []


def test_an_archive_that_is_kept_is_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    keys = BackupKeys(tmp_path / "keys")
    with ArchiveFile(tmp_path / "run" / "h1.tar.gz.sealed", keys, "run/h1") as archive:
        archive.write(b"half of it")
        archive.write(b", and the rest")
        path = archive.keep()
    assert b"".join(keys.opened(path, "run/h1")) == b"half of it, and the rest"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
