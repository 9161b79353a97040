"""Old runs go to an archive and come back: nothing is deleted silently, the chain stays whole (issue 6: 6; ADR 14; faults D)."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.exc import DatabaseError

from tests.unit.audit.conftest import run_record
from tests.unit.audit.raw_database import RawDatabase
from tests.unit.audit.test_evidence import verifier
from tests.unit.audit.test_rebuilding import told
from tests.unit.audit.test_verifying import state_of
from upkeep.audit import archive_file, archiving, queries, rebuilding
from upkeep.audit.archive_file import Archive, opened, read_archive
from upkeep.audit.archiving import archive, finish, plan, restore
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.database import with_driver
from upkeep.audit.evidence import rotations_of, write_pack
from upkeep.audit.history import History
from upkeep.audit.rebuilding import digests, rebuild
from upkeep.domain.record import Actor
from upkeep.errors import AuditError, BadInput

ANN = Actor(name="ann")
LEASE = {"lease_until"}
"""No content of the history: until when a controller vouched for the run."""


@pytest.fixture
def two_runs(history: History, checkpoints: Checkpoints) -> History:
    """Two runs with something of every kind, each sealed at its end, and an event of no run."""
    told(history)
    history.record("document:plan:night", "plan.first_used", body={"sha256": "0"}, actor=ANN)
    history.open_run(run_record("r2"))
    return told(history, "r2")


@pytest.fixture
def made(two_runs: History, checkpoints: Checkpoints, tmp_path: Path) -> Archive:
    """The first run in an archive."""
    return archived(two_runs, checkpoints, tmp_path / "archives", upto="r1")


def archived(history: History, checkpoints: Checkpoints, folder: Path, *, upto: str) -> Archive:
    last = history.events(upto)[-1]
    sealing = next(one for one in history.checkpoints() if one.upto_seq >= last.seq)
    before = datetime.fromisoformat(sealing.at) + timedelta(microseconds=1)
    (stretch,) = plan(history, before).stretches
    return archive(history, checkpoints, stretch, folder, actor=ANN, reason="older than a year")


def test_what_is_archived_is_proved_offline_and_gone_from_the_database_and_the_chain_is_whole(
    made: Archive, two_runs: History, checkpoints: Checkpoints, raw: RawDatabase, outside: Path
) -> None:
    key = checkpoints.keys.path / f"{checkpoints.keys.current().id}.pem"
    code, said = verifier(made.path, "--key", str(key), "--checkpoints", str(outside))
    assert (code, said.startswith(f"good: archive, {made.upto_seq} events")) == (0, True), said
    state = state_of(two_runs, checkpoints)
    assert state.ok, state.problems
    assert [made.sha256 in note and str(made.path) in note for note in state.notes] == [True]
    assert [run.id for run in two_runs.runs()] == ["r2"]
    left = "SELECT count(*) FROM {0} WHERE run = 'r1'"
    for table in ("run_host", "run_stage", "step_attempt", "finding", "backup"):
        assert raw.rows(left.format(table))[0][0] == 0, table
    assert [row.action for row in raw.rows("SELECT action FROM event WHERE run = 'r1'")] == ["release.accepted"]
    assert raw.rows("SELECT count(*) FROM event WHERE body LIKE '%web-01%' AND body LIKE '%\"run\":\"r1\"%'")[0][0] == 0
    assert all(model.same for model in rebuild(two_runs, keep=False))


def test_an_event_says_what_was_archived_by_whom_why_and_where(made: Archive, two_runs: History) -> None:
    (event,) = [one for one in two_runs.events("") if one.action == "history.archived"]
    assert (event.actor.name, event.reason, event.body["file"]) == ("ann", "older than a year", str(made.path))
    assert event.body["sha256"] == made.sha256
    assert [(run["id"], run["outcome"], run["hosts"]) for run in event.body["runs"]] == [("r1", "stopped", 2)]
    with pytest.raises(BadInput, match="r1 was archived") as caught:
        two_runs.run("r1")
    assert "--archive" in str(caught.value)
    (row,) = two_runs.archives()
    assert [run.id for run in two_runs.archived_runs(row.first_seq)] == ["r1"]


def test_an_archived_run_is_read_and_exported_from_its_file(
    two_runs: History, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    before = two_runs.run("r1").model_dump_json(exclude=LEASE)
    made = archived(two_runs, checkpoints, tmp_path / "archives", upto="r1")
    two_runs.rotate_key(checkpoints, ANN, "yearly")
    with opened(read_archive(made.path, checkpoints.keys.publics())) as alone:
        assert alone.run("r1").model_dump_json(exclude=LEASE) == before
        write_pack(alone, checkpoints, "r1", tmp_path / "r1.zip", rotations=rotations_of(two_runs))
    key = checkpoints.keys.path / f"{checkpoints.keys.current().id}.pem"
    code, said = verifier(tmp_path / "r1.zip", "--key", str(key))
    assert code == 0, said


def test_what_is_put_back_is_as_it_was_to_the_byte(two_runs: History, checkpoints: Checkpoints, tmp_path: Path) -> None:
    with two_runs.reading() as session:
        before = digests(session)
    run = two_runs.run("r1").model_dump_json(exclude=LEASE)
    made = archived(two_runs, checkpoints, tmp_path / "archives", upto="r1")
    restore(two_runs, read_archive(made.path, checkpoints.keys.publics()), ANN, "an audit")
    with two_runs.reading() as session:
        assert digests(session) == before
    assert two_runs.run("r1").model_dump_json(exclude=LEASE) == run
    assert all(model.same for model in rebuild(two_runs, keep=False))
    state = state_of(two_runs, checkpoints)
    assert (state.ok, state.notes) == (True, ())
    with pytest.raises(BadInput, match="not archived"):
        restore(two_runs, made, ANN, "twice")
    again = archived(two_runs, checkpoints, tmp_path / "archives", upto="r2")
    assert [run["id"] for run in again.runs] == ["r1", "r2"]
    assert state_of(two_runs, checkpoints).ok


def test_an_archiving_that_broke_off_is_whole_and_finished_later(
    two_runs: History, checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(archiving, "finish", lambda _history: 0)
        archived(two_runs, checkpoints, tmp_path / "archives", upto="r1")
    assert state_of(two_runs, checkpoints).ok
    assert all(model.same for model in rebuild(two_runs, keep=False))
    assert finish(two_runs) > 0
    assert finish(two_runs) == 0
    assert state_of(two_runs, checkpoints).ok


def test_no_run_is_cut_in_two_and_nothing_goes_that_has_no_copy_elsewhere(
    history: History, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.make()
    later = datetime.now(UTC) + timedelta(days=1)
    assert (plan(history, later).stretches, "run r1 is not over" in plan(history, later).why) == ((), True)
    told(history)
    (stretch,) = plan(history, later).stretches
    assert stretch.runs == ("r1",)
    assert plan(history, datetime.now(UTC) - timedelta(days=1)).stretches == ()
    history.record("r1", "note", reason="said later")
    checkpoints.make()
    (longer,) = plan(history, later).stretches
    assert longer.upto_seq == stretch.upto_seq + 1
    checkpoints.copies.write = _refuses  # type: ignore[method-assign]
    history.open_run(run_record("r2"))
    told(history, "r2")
    assert "has no copy" in plan(history, later).why
    assert [one.runs for one in plan(history, later).stretches] == [("r1",)]


def test_nothing_after_a_checkpoint_without_a_copy_goes_though_later_ones_have_theirs(
    two_runs: History, checkpoints: Checkpoints, raw: RawDatabase
) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    raw.execute("UPDATE checkpoint SET exported_to = '' WHERE id = 1")
    raw.commit()
    planned = plan(two_runs, later)
    assert (planned.stretches, planned.why) == ((), "checkpoint 1 has no copy outside the database yet")


def test_a_file_holds_as_many_whole_runs_as_its_size_allows(
    two_runs: History, checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    assert [one.runs for one in plan(two_runs, later).stretches] == [("r1", "r2")]
    monkeypatch.setattr(archiving, "MOST_EVENTS", 1)
    assert [one.runs for one in plan(two_runs, later).stretches] == [("r1",), ("r2",)]


def _refuses(_name: str, _content: bytes) -> None:
    raise AuditError("the disk is full")


REFUSED: dict[str, str] = {
    "a text outside the archives": "UPDATE event SET at = '', run = '', action = '', host = '', body = '' WHERE run = 'r2'",
    "a text made another": "UPDATE event SET body = replace(body, 'stable', 'other') WHERE action = 'release.accepted'",
    "a hash": "UPDATE event SET hash = 'x', body = '' WHERE seq = 2",
    "a number": "UPDATE event SET seq = 999, body = '' WHERE seq = 2",
    "an event": "DELETE FROM event WHERE seq = 2",
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_database_gives_up_nothing_but_texts_that_are_archived(made: Archive, raw: RawDatabase, what: str) -> None:
    with pytest.raises(DatabaseError, match="append-only"):
        raw.execute(REFUSED[what])


def test_an_older_version_that_knows_no_archives_is_not_gone_back_to_while_there_are_some(
    made: Archive, two_runs: History, address: str
) -> None:
    config = Config()
    config.set_main_option("script_location", "upkeep:audit/migrations")
    two_runs.close()
    with create_engine(with_driver(address)).connect() as connection:
        config.attributes["connection"] = connection
        with pytest.raises(ValueError, match="upkeep history restore"):
            command.downgrade(config, "0009")


def _text_gone(db: RawDatabase) -> None:
    db.execute(
        "UPDATE event SET at = '', run = '(archived)', action = 'archived', host = '(archived)', body = '' WHERE run = 'r2'"
    )


def _hashes_made_up(db: RawDatabase) -> None:
    db.execute("UPDATE event SET hash = 'made up' WHERE seq = 3; UPDATE event SET prev_hash = 'made up' WHERE seq = 4")


def _another_text(db: RawDatabase) -> None:
    db.execute("UPDATE event SET body = '{}' WHERE seq = 3")


TAMPERINGS: dict[str, tuple[Callable[[RawDatabase], None], str]] = {
    "a text that no archive holds is taken out": (_text_gone, "is gone and no archive"),
    "hashes without text are made up": (_hashes_made_up, "is not one that checkpoint 1 was signed over"),
    "another text is put in": (_another_text, "event 3 was changed"),
}


@pytest.mark.parametrize("way", TAMPERINGS)
def test_tampering_with_what_archives_leave_is_found(
    made: Archive, two_runs: History, checkpoints: Checkpoints, raw: RawDatabase, way: str
) -> None:
    tamper, said = TAMPERINGS[way]
    raw.drop_triggers()
    tamper(raw)
    raw.commit()
    state = state_of(two_runs, checkpoints)
    assert said in " ".join(problem.reason for problem in state.problems), state


@pytest.mark.parametrize("file", ["events.jsonl", "runs.json", "manifest.json", "checkpoints.json"])
def test_a_changed_archive_is_neither_read_nor_put_back(
    made: Archive, two_runs: History, checkpoints: Checkpoints, tmp_path: Path, file: str
) -> None:
    forged = tmp_path / "forged.zip"
    with zipfile.ZipFile(made.path) as old, zipfile.ZipFile(forged, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b"1", b"2") if name == file else content)
    with pytest.raises(AuditError, match="forged"):
        read_archive(forged, checkpoints.keys.publics())
    assert verifier(forged)[0] == 1


def test_an_archive_signed_by_somebody_else_is_not_trusted(made: Archive) -> None:
    with pytest.raises(AuditError, match="not one to trust"):
        read_archive(made.path, [])


def test_a_file_that_is_another_one_than_was_proved_is_not_put_back(
    made: Archive, two_runs: History, tmp_path: Path
) -> None:
    forged = tmp_path / "forged.zip"
    with zipfile.ZipFile(made.path) as old, zipfile.ZipFile(forged, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b"ann", b"bob") if name == "events.jsonl" else content)
    with pytest.raises(AuditError, match="not the one that was written"):
        restore(two_runs, replace(made, path=forged), ANN, "no")
    cut = tmp_path / "cut.zip"
    with zipfile.ZipFile(made.path) as old, zipfile.ZipFile(cut, "w") as new:
        new.writestr("events.jsonl", b"".join(old.read("events.jsonl").splitlines(keepends=True)[:-1]))
    with pytest.raises(AuditError, match="are not those that checkpoint"):
        restore(two_runs, replace(made, path=cut), ANN, "no")
    assert two_runs.find_run("r1") is None


def test_what_is_put_back_has_the_hashes_that_stayed(made: Archive, two_runs: History, raw: RawDatabase) -> None:
    raw.drop_triggers()
    raw.execute("UPDATE event SET hash = 'made up' WHERE seq = 3")
    raw.commit()
    with pytest.raises(AuditError, match="other hashes"):
        restore(two_runs, made, ANN, "no")


def test_an_archive_is_written_proved_and_put_back_without_being_held_in_memory(
    history: History, checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (archive_file, queries, rebuilding):
        monkeypatch.setattr(module, "_AT_ONCE", 4)
    told(history)
    for number in range(80):
        history.record("r1", "note", reason=str(number), body={"output": "some words " * 4000})
    checkpoints.make()
    texts = 80 * 44_000
    tracemalloc.start()
    (stretch,) = plan(history, datetime.now(UTC) + timedelta(days=1)).stretches
    made = archive(history, checkpoints, stretch, tmp_path / "archives", actor=ANN, reason="a year")
    restore(history, read_archive(made.path, checkpoints.keys.publics()), ANN, "an audit")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < texts / 2, f"{most} bytes were held of {texts}"
