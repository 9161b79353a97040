"""Tampering by somebody who can write the database as he likes is found, and the right event named (fault 55)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.audit.raw_database import RawDatabase
from tests.unit.audit.test_evidence import verifier
from upkeep.audit.chain import GENESIS, canonical, chained
from upkeep.audit.checkpoint import Checkpoint
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.copies import Copies
from upkeep.audit.evidence import write_pack
from upkeep.audit.history import History
from upkeep.audit.signing import KeyFolder, PublicKey
from upkeep.audit.verifying import HistoryState, verify_history
from upkeep.domain.change import RunOutcome
from upkeep.domain.record import Actor


def notes(history: History, *texts: str) -> None:
    for text in texts:
        history.record("r1", "note", reason=text)


def state_of(history: History, checkpoints: Checkpoints, *keys: PublicKey) -> HistoryState:
    return verify_history(history, checkpoints.copies, keys or checkpoints.keys.publics())


@pytest.fixture
def sealed(history: History, checkpoints: Checkpoints, raw: RawDatabase) -> RawDatabase:
    """Twelve events, checkpoints after 4, 8 and 12, and a database without triggers."""
    notes(history, "n2", "n3", "n4")
    checkpoints.make()
    notes(history, "n5", "n6", "n7", "n8")
    checkpoints.make()
    notes(history, "n9", "n10", "n11", "n12")
    checkpoints.make()
    raw.drop_triggers()
    return raw


def rehash(db: RawDatabase) -> None:
    """Make the chain of whatever events there are whole again, as somebody would who knows how it is made."""
    rows = db.rows("SELECT at, run, action, host, body FROM event ORDER BY seq")
    db.execute("DELETE FROM event")
    prev = GENESIS
    for number, row in enumerate(rows, 1):
        body = canonical({**json.loads(row.body), "seq": number})
        fresh = {**row._mapping, "seq": number, "body": body, "prev_hash": prev, "hash": chained(number, body, prev)}
        db.execute("INSERT INTO event VALUES (:seq, :at, :run, :action, :host, :body, :prev_hash, :hash)", **fresh)
        prev = fresh["hash"]


def edit(db: RawDatabase) -> None:
    db.execute("UPDATE event SET body = replace(body, 'n6', 'nothing') WHERE seq = 6")


def delete(db: RawDatabase) -> None:
    db.execute("DELETE FROM event WHERE seq = 6")


def insert(db: RawDatabase) -> None:
    db.execute("UPDATE event SET seq = -seq WHERE seq >= 6")
    db.execute("UPDATE event SET seq = 1 - seq WHERE seq < 0")
    db.execute(
        "INSERT INTO event SELECT 6, at, run, action, host, replace(body, 'n2', 'new'), 'x', 'y' FROM event WHERE seq = 2"
    )


def reorder(db: RawDatabase) -> None:
    db.execute(
        "UPDATE event SET seq = 99 WHERE seq = 6; UPDATE event SET seq = 6 WHERE seq = 7; UPDATE event SET seq = 7 WHERE seq = 99"
    )


def cut(db: RawDatabase) -> None:
    db.execute("DELETE FROM event WHERE seq > 10")


def cut_with_its_checkpoint(db: RawDatabase) -> None:
    cut(db)
    db.execute("DELETE FROM checkpoint WHERE id = 3")


def both(*changes: Callable[[RawDatabase], None]) -> Callable[[RawDatabase], None]:
    return lambda db: [change(db) for change in changes] and None


TAMPERINGS: dict[str, tuple[Callable[[RawDatabase], None], int, str]] = {
    "edit": (edit, 6, "event 6 was changed"),
    "delete": (delete, 6, "event 6 is missing"),
    "insert": (insert, 6, "event 6 does not follow"),
    "reorder": (reorder, 6, "event 6 does not follow"),
    "cut the tail": (cut, 11, "event 11 is missing: checkpoint 3"),
    "cut the tail and its checkpoint": (cut_with_its_checkpoint, 11, "event 11 is missing: checkpoint 3"),
    "edit and rewrite": (both(edit, rehash), 5, "an event from 5 to 8 is not the one that checkpoint 2"),
    "delete and rewrite": (both(delete, rehash), 5, "an event from 5 to 8 is not the one that checkpoint 2"),
    "insert and rewrite": (both(insert, rehash), 5, "an event from 5 to 8 is not the one that checkpoint 2"),
    "reorder and rewrite": (both(reorder, rehash), 5, "an event from 5 to 8 is not the one that checkpoint 2"),
    "rewrite all and drop the checkpoints": (
        both(edit, rehash, lambda db: db.execute("DELETE FROM checkpoint")),
        5,
        "an event from 5 to 8",
    ),
}


@pytest.mark.parametrize("way", TAMPERINGS)
def test_every_way_to_tamper_is_found_and_the_event_named(
    history: History, checkpoints: Checkpoints, sealed: RawDatabase, way: str
) -> None:
    tamper, bad_seq, said = TAMPERINGS[way]
    assert state_of(history, checkpoints).ok
    tamper(sealed)
    sealed.commit()
    state = state_of(history, checkpoints)
    assert state.problems[0].seq == bad_seq
    assert said in state.reason


@pytest.mark.parametrize("way", TAMPERINGS)
def test_a_pack_made_from_a_history_that_was_tampered_with_is_found_by_the_verifier_alone_and_the_event_named(  # noqa: PLR0917 - fixtures
    history: History, checkpoints: Checkpoints, sealed: RawDatabase, outside: Path, tmp_path: Path, way: str
) -> None:
    """It has the public key and the copies of checkpoints; neither database nor Upkeep."""
    tamper, _, said = TAMPERINGS[way]
    tamper(sealed)
    sealed.commit()
    write_pack(history, checkpoints, "r1", tmp_path / "r1.zip")
    (key,) = checkpoints.keys.path.glob("*.pem")
    code, text = verifier(tmp_path / "r1.zip", "--key", str(key), "--checkpoints", str(outside))
    assert code == 1
    assert said.replace("not the one that", "not one that") in text


def test_a_pack_is_found_good_with_the_copies_of_all_checkpoints_also_those_made_after_it(
    history: History, checkpoints: Checkpoints, outside: Path, tmp_path: Path
) -> None:
    notes(history, "n2")
    checkpoints.make()
    write_pack(history, checkpoints, "r1", tmp_path / "open.zip")
    history.close_run("r1", RunOutcome.SUCCEEDED, "")
    write_pack(history, checkpoints, "r1", tmp_path / "over.zip")
    notes(history, "of another time")
    checkpoints.make()
    for pack in ("open.zip", "over.zip"):
        code, text = verifier(tmp_path / pack, "--checkpoints", str(outside))
        assert (code, "good: run r1" in text) == (0, True), text


def test_the_whole_history_and_its_checkpoints_made_anew_with_the_stolen_key_contradict_the_copies(
    history: History, checkpoints: Checkpoints, sealed: RawDatabase, tmp_path: Path
) -> None:
    edit(sealed)
    rehash(sealed)
    sealed.execute("DELETE FROM checkpoint")
    sealed.commit()
    thief = history.seal(checkpoints.keys, Copies(str(tmp_path / "elsewhere")))
    thief.make()
    assert verify_history(history, thief.copies, thief.keys.publics()).ok
    state = state_of(history, checkpoints)
    assert (state.problems[0].seq, state.ok) == (5, False)
    assert "checkpoint 1 is not the one that was copied" in " ".join(problem.reason for problem in state.problems)


@pytest.fixture
def put_back(request: pytest.FixtureRequest, address: str, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Makes a copy of the database as it is now, and says where."""
    made: list[str] = []

    def copy() -> str:
        if address.startswith("sqlite"):
            with (
                sqlite3.connect(address.removeprefix("sqlite:///")) as now,
                sqlite3.connect(tmp_path / "old.db") as old,
            ):
                now.backup(old)
            return f"sqlite:///{tmp_path / 'old.db'}"
        made.append(request.getfixturevalue("postgresql").copy(address))
        return made[0]

    yield copy
    for one in made:
        request.getfixturevalue("postgresql").drop(one)


def test_an_old_copy_that_was_put_back_and_written_on_is_found_by_the_copies_of_later_checkpoints(  # noqa: PLR0917 - fixtures
    history: History, checkpoints: Checkpoints, address: str, put_back: Callable[[], str], tmp_path: Path, outside: Path
) -> None:
    notes(history, "n2")
    checkpoints.make()
    history.close()
    old = put_back()
    history = History.open(address)
    before = history.seal(checkpoints.keys, checkpoints.copies)
    notes(history, "n3", "n4")
    before.make()
    history.close()
    restored = History.open(old)
    state = state_of(restored, checkpoints)
    assert (state.problems[0].seq, state.problems[0].checkpoint) == (3, 2)
    again = restored.seal(checkpoints.keys, checkpoints.copies)
    write_pack(restored, again, "r1", tmp_path / "old.zip")
    assert "event 3 is missing: checkpoint 2" in verifier(tmp_path / "old.zip", "--checkpoints", str(outside))[1]
    notes(restored, "another 3")
    again.make()
    notes(restored, "another 4", "another 5")
    again.make()
    assert len(list(outside.iterdir())) == 4
    forked = state_of(restored, checkpoints)
    assert forked.problems[0].seq == 3
    assert "an event from 3 to 4 is not the one that checkpoint 2" in forked.reason
    assert any("the history forked there" in problem.reason for problem in forked.problems)
    write_pack(restored, again, "r1", tmp_path / "forked.zip")
    code, text = verifier(tmp_path / "forked.zip", "--checkpoints", str(outside))
    assert (code, "an event from 3 to 4 is not one that checkpoint 2" in text) == (1, True), text
    restored.close()


def test_copies_that_are_gone_are_named_and_once_back_they_prove_that_the_tail_was_cut(
    history: History, checkpoints: Checkpoints, sealed: RawDatabase, outside: Path
) -> None:
    cut_with_its_checkpoint(sealed)
    sealed.commit()
    away = outside.rename(outside.with_name("unmounted"))
    outside.write_text("not a folder")
    outside.chmod(0)
    state = state_of(history, checkpoints)
    assert [problem.reason for problem in state.problems] == [
        f"the copy of checkpoint {n} is gone from {outside}" for n in (1, 2)
    ]
    outside.unlink()
    away.rename(outside)
    assert state_of(history, checkpoints).problems[0].seq == 11


CHECKPOINT_TAMPERINGS = {
    "edit": (
        "UPDATE checkpoint SET at = '2020-01-01T00:00:00+00:00' WHERE id = 2",
        "checkpoint 2 was changed after it was signed",
    ),
    "delete": ("DELETE FROM checkpoint WHERE id = 2", "checkpoint 2 is missing from the database"),
    "move": ("UPDATE checkpoint SET id = 9 WHERE id = 3", "checkpoint 9 was changed after it was signed"),
}


@pytest.mark.parametrize(("statement", "said"), CHECKPOINT_TAMPERINGS.values(), ids=list(CHECKPOINT_TAMPERINGS))
def test_a_checkpoint_that_was_tampered_with_is_named(
    history: History, checkpoints: Checkpoints, sealed: RawDatabase, statement: str, said: str
) -> None:
    sealed.execute(statement)
    sealed.commit()
    state = state_of(history, checkpoints)
    assert said in state.reason
    assert state.problems[0].checkpoint is not None


def test_a_copy_that_was_changed_or_removed_is_named(
    history: History, checkpoints: Checkpoints, sealed: RawDatabase, outside: Path
) -> None:
    first, second, third = sorted(outside.iterdir())
    changed = Checkpoint.model_validate_json(second.read_text()).model_copy(update={"upto_seq": 7})
    second.write_text(changed.text())
    third.write_text("{}")
    first.unlink()
    said = [problem.reason for problem in state_of(history, checkpoints).problems]
    assert "checkpoint 2 was changed after it was signed" in said
    assert f"the copy of checkpoint 1 is gone from {outside}" in said
    assert f"{third.name} in {outside} is not a checkpoint" in said


def test_a_checkpoint_of_a_strangers_key_counts_for_nothing(
    history: History, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.make()
    stranger = KeyFolder(tmp_path / "stranger").current()
    state = state_of(history, checkpoints, stranger.public)
    assert "not one to trust" in state.reason
    assert state.problems[0].checkpoint == 1


def test_a_key_is_trusted_through_every_rotation_both_ways_and_its_retired_part_signs_no_more(
    history: History, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.make()
    oldest = checkpoints.keys.current()
    shutil.copytree(checkpoints.keys.path, tmp_path / "stolen")
    history.rotate_key(checkpoints, Actor(name="ann"), "")
    history.rotate_key(checkpoints, Actor(name="ann"), "")
    assert state_of(history, checkpoints, oldest.public).ok
    assert state_of(history, checkpoints, checkpoints.keys.current().public).ok
    thief = history.seal(KeyFolder(tmp_path / "stolen"), checkpoints.copies)
    thief.make()
    assert "had retired it" in state_of(history, checkpoints).reason


def test_copies_that_are_still_to_be_made_are_a_note_and_no_alarm(
    history: History, checkpoints: Checkpoints, outside: Path
) -> None:
    outside.write_text("a file where the folder should be")
    checkpoints.make()
    state = state_of(history, checkpoints)
    assert state.ok
    assert "1 checkpoints from 1 on have no copy yet" in state.notes[0]
