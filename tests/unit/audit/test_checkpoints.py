"""Signed checkpoints: one at the end of every run, every hour, and at a change of keys; a copy that fails costs nothing but the copy (fault 55)."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest
from sqlalchemy.exc import DatabaseError

from tests.unit.audit.conftest import run_record
from tests.unit.audit.raw_database import RawDatabase
from upkeep.audit.checkpoint import read_checkpoint
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.copies import Copies
from upkeep.audit.history import History
from upkeep.audit.signing import KeyFolder, PublicKey
from upkeep.domain.change import RunOutcome
from upkeep.domain.record import Actor
from upkeep.errors import AuditError


def test_a_run_that_ends_is_sealed_and_the_copy_outside_is_signed_by_the_key_beside(
    history: History, checkpoints: Checkpoints, outside: Path
) -> None:
    history.close_run("r1", RunOutcome.SUCCEEDED, "all well")
    (copy,) = outside.iterdir()
    checkpoint = read_checkpoint(copy.read_bytes())
    assert checkpoint == history.checkpoints()[0]
    assert (checkpoint.id, checkpoint.upto_seq, checkpoint.n, checkpoint.prev_sig) == (1, 2, 2, "")
    (public,) = checkpoints.keys.publics()
    assert public.signed(checkpoint.statement, checkpoint.sig)
    assert not public.signed(checkpoint.statement.replace('"n":2', '"n":1'), checkpoint.sig)
    assert [row.exported_to for row in history.checkpoint_rows()] == [str(outside)]


def test_the_key_is_made_once_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(KeyFolder(tmp_path / "keys").current().id)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys/history.key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == sorted([f"{made[0]}.pem", "history.key"])


def test_a_key_that_others_can_read_signs_nothing(history: History, checkpoints: Checkpoints) -> None:
    checkpoints.make()
    (checkpoints.keys.path / "history.key").chmod(0o644)
    with pytest.raises(AuditError, match="chmod 600"):
        checkpoints.make()
    history.close_run("r1", RunOutcome.SUCCEEDED, "the run does not care")
    assert history.run("r1").outcome is RunOutcome.SUCCEEDED


def test_every_hour_there_is_one_also_when_nothing_happened(history: History, checkpoints: Checkpoints) -> None:
    first = checkpoints.make()
    assert checkpoints.make(if_older_than=timedelta(hours=1)) is None
    made = threading.Event()
    write = checkpoints.copies.write
    checkpoints.copies.write = lambda name, content: (write(name, content), made.set())[0]  # type: ignore[method-assign]
    checkpoints.every(timedelta(milliseconds=20))
    assert made.wait(20)
    checkpoints.close()
    second = history.checkpoints()[1]
    assert first is not None
    assert (second.n, second.upto_seq, second.head_hash, second.prev_sig) == (0, 1, first.head_hash, first.sig)


def test_a_history_that_is_closed_leaves_no_clock_behind_that_opens_it_again(
    history: History, checkpoints: Checkpoints
) -> None:
    before = set(threading.enumerate())
    checkpoints.every(timedelta(hours=1))
    (clock,) = set(threading.enumerate()) - before
    history.close()
    clock.join(20)
    assert not clock.is_alive()


def test_a_copy_that_fails_is_made_with_the_next_checkpoint(
    history: History, checkpoints: Checkpoints, outside: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside.write_text("a file where the folder should be")
    history.close_run("r1", RunOutcome.SUCCEEDED, "")
    assert "tried again with the next checkpoint" in caplog.text
    assert [row.exported_to for row in history.checkpoint_rows()] == [""]
    outside.unlink()
    checkpoints.make()
    assert len(list(outside.iterdir())) == 2
    assert [row.exported_to for row in history.checkpoint_rows()] == [str(outside)] * 2


def test_a_store_that_hangs_does_not_hold_a_run_up(
    history: History, checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, free = threading.Event(), threading.Event()
    monkeypatch.setattr("upkeep.audit.checkpoints.COPIED_WITHIN", timedelta(milliseconds=50))
    monkeypatch.setattr(checkpoints.copies, "write", lambda *_: (hung.set(), free.wait(20)))
    began = time.monotonic()
    history.close_run("r1", RunOutcome.SUCCEEDED, "")
    assert time.monotonic() - began < 10
    assert hung.wait(20)
    free.set()


def test_copies_go_wherever_fsspec_reaches(history: History, tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    checkpoints = history.seal(KeyFolder(tmp_path / "keys"), Copies("memory://seals/here"))
    made = checkpoints.make()
    assert made is not None
    assert [json.loads(content)["sig"] for content in checkpoints.copies.read().values()] == [made.sig]
    files.rm("/seals", recursive=True)
    assert checkpoints.copies.read() == {}


def test_a_password_in_the_address_of_the_copies_is_not_repeated() -> None:
    copies = Copies("sftp://me:hunter2@nowhere.invalid/x")
    assert copies.where == "sftp://nowhere.invalid/x"


def test_a_change_of_keys_is_an_event_that_both_sign_and_the_old_public_part_stays(
    history: History, checkpoints: Checkpoints
) -> None:
    old = checkpoints.keys.current()
    checkpoints.make()
    event = history.rotate_key(checkpoints, Actor(name="ann"), "every year")
    new = checkpoints.keys.current()
    assert (event.actor.name, event.reason, old.id == new.id) == ("ann", "every year", False)
    assert [checkpoint.key_id for checkpoint in history.checkpoints()] == [old.id, new.id]
    assert {key.id for key in checkpoints.keys.publics()} == {old.id, new.id}
    assert not (checkpoints.keys.path / "history.next.key").exists()


def test_a_change_of_keys_that_was_broken_off_after_its_event_is_finished_by_the_next_checkpoint(
    history: History, checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.make()
    with monkeypatch.context() as killed:
        killed.setattr(checkpoints, "make", lambda: None)
        history.rotate_key(checkpoints, Actor(name="ann"), "")
    coming = PublicKey.read(
        next(p for p in checkpoints.keys.path.glob("*.pem") if p.stem == checkpoints.keys.coming().id)
    )
    history.close_run("r1", RunOutcome.SUCCEEDED, "")
    assert history.checkpoints()[-1].key_id == coming.id == checkpoints.keys.current().id


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE checkpoint SET upto_seq = 1",
        "DELETE FROM checkpoint",
        "INSERT INTO checkpoint SELECT * FROM checkpoint WHERE id = 1 ON CONFLICT (id) DO UPDATE SET upto_seq = 9",
    ],
)
def test_the_database_refuses_to_change_a_checkpoint(
    history: History, checkpoints: Checkpoints, raw: RawDatabase, statement: str
) -> None:
    checkpoints.make()
    with pytest.raises(DatabaseError, match="append-only"):
        raw.execute(statement)


def test_each_database_has_a_way_of_its_own_to_change_checkpoints_and_refuses_it(
    history: History, checkpoints: Checkpoints, raw: RawDatabase
) -> None:
    checkpoints.make()
    replace = "INSERT OR REPLACE INTO checkpoint SELECT id, 1, n, head_hash, hashes_sha256, at, key_id, prev_sig, sig, exported_to FROM checkpoint"
    with pytest.raises(DatabaseError, match="append-only"):
        raw.execute(replace if raw.is_sqlite else "TRUNCATE checkpoint")


def test_two_controllers_seal_one_history_without_a_fork(
    history: History, checkpoints: Checkpoints, address: str
) -> None:
    other = History.open(address)
    beside = other.seal(checkpoints.keys, checkpoints.copies)
    other.open_run(run_record("r2"))
    threads = [threading.Thread(target=one.make) for one in (checkpoints, beside) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = history.checkpoints()
    assert [checkpoint.id for checkpoint in made] == list(range(1, 11))
    assert [checkpoint.prev_sig for checkpoint in made] == ["", *(checkpoint.sig for checkpoint in made[:-1])]
    other.close()
