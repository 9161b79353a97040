"""Backups at rest (B7; fault 26): sealed, bound to run and host, and each says which key it needs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from upkeep.errors import BackupError, BadInput
from upkeep.services.sealing import BackupKeys

CONTENT = b"the agent's key and configuration\n" * 100_000


def sealed(keys: BackupKeys, path: Path, subject: str = "r1/h1") -> Path:
    with path.open("wb") as file, keys.sealing(file, subject) as stream:
        stream.write(CONTENT)
    return path


def read(keys: BackupKeys, path: Path, subject: str = "r1/h1") -> bytes:
    return b"".join(keys.opened(path, subject))


@pytest.fixture
def keys(tmp_path: Path) -> BackupKeys:
    return BackupKeys(tmp_path / "keys")


def test_a_backup_comes_back_exactly_and_nothing_of_it_can_be_read_without_the_key(keys, tmp_path) -> None:
    path = sealed(keys, tmp_path / "b")
    assert read(keys, path) == CONTENT
    assert b"configuration" not in path.read_bytes()
    assert {file.stat().st_mode & 0o777 for file in keys.folder.iterdir()} == {0o600}


def test_after_a_rotation_old_backups_still_open_and_new_ones_need_the_new_key(keys, tmp_path) -> None:
    before = sealed(keys, tmp_path / "before")
    old, new = keys.current(), keys.rotate()
    after = sealed(keys, tmp_path / "after")
    assert read(keys, before) == read(keys, after) == CONTENT
    assert (old != new, keys.current(), sorted(keys.ids())) == (True, new, sorted([old, new]))


def test_without_its_key_a_backup_says_which_key_it_needs_and_what_to_do(keys, tmp_path) -> None:
    path = sealed(keys, tmp_path / "b")
    old = keys.current()
    keys.rotate()
    away = keys.retire(old)
    with pytest.raises(BackupError, match=f"sealed with key {old}, which is not here .it was retired") as refused:
        read(keys, path)
    assert f"put key {old} back" in refused.value.remedy
    away.rename(keys.folder / f"{old}.json")
    assert read(keys, path) == CONTENT
    with pytest.raises(BackupError, match=f"sealed with key {old}, which is not here"):
        read(BackupKeys(tmp_path / "other controller"), path)


def test_the_key_in_use_and_an_unknown_key_cannot_be_retired(keys) -> None:
    for key in (keys.current(), "123", "../../etc/passwd"):
        with pytest.raises(BadInput, match="cannot be retired"):
            keys.retire(key)


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "header"])
def test_a_damaged_backup_is_refused(keys, tmp_path, damage: str) -> None:
    path = sealed(keys, tmp_path / "b")
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    elif damage == "cut":
        del data[-100:]
    elif damage == "longer":
        data += b"more"
    else:
        data[20] ^= 1
    path.write_bytes(data)
    with pytest.raises(BackupError):
        read(keys, path)


def test_a_backup_of_another_host_or_run_is_not_taken_for_this_one(keys, tmp_path) -> None:
    path = sealed(keys, tmp_path / "b")
    for other in ("r1/h2", "r2/h1"):
        with pytest.raises(BackupError, match="another one"):
            read(keys, path, other)


def test_a_backup_from_before_they_were_sealed_still_opens(keys, tmp_path) -> None:
    (tmp_path / "old.tar.gz").write_bytes(b"\x1f\x8b" + CONTENT)
    assert read(keys, tmp_path / "old.tar.gz") == b"\x1f\x8b" + CONTENT


def test_many_hosts_at_once_make_one_first_key(keys) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: keys.current(), range(64)))) == 1
