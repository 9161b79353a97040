"""`upkeep history move`: from SQLite to PostgreSQL and back, chain and all (issue 6: 6; R5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.audit.raw_database import RawDatabase
from tests.unit.audit.test_rebuilding import told
from upkeep.audit import moving
from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.history import History
from upkeep.audit.moving import MOVED_IN, move
from upkeep.audit.people import People
from upkeep.audit.rebuilding import rebuild
from upkeep.audit.verifying import verify_history
from upkeep.audit.writer import MOVED_AWAY
from upkeep.domain.change import RunOutcome
from upkeep.domain.record import Actor
from upkeep.errors import AuditError, BadInput

ANN = Actor(name="ann")


@pytest.fixture
def other(request: pytest.FixtureRequest, address: str, tmp_path: Path) -> Iterator[str]:
    """An empty database of the other kind."""
    if not address.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'moved.db'}"
        return
    cluster = request.getfixturevalue("postgresql")
    made = cluster.database()
    yield made
    cluster.drop(made)


def test_a_moved_history_is_the_same_to_the_byte_goes_on_and_is_proved_by_the_checkpoints_made_before(
    history: History, checkpoints: Checkpoints, other: str
) -> None:
    token = People(history).add("ann", ["admin"], ANN)
    before = told(history).events("r1")
    checkpoints.make()
    moved = move(history, other, ANN, "PostgreSQL from here on")
    new = History.open(other)
    assert moved.events == len(before) + 3
    assert new.events("r1") == before
    assert [event.action for event in new.events("")] == ["person.added", MOVED_AWAY, MOVED_IN]
    assert new.run("r1").model_dump_json() == history.run("r1").model_dump_json()
    assert People(new).by_token(token)
    assert verify_history(new, checkpoints.copies, checkpoints.keys.publics()).ok
    assert all(model.same for model in rebuild(new, keep=False))
    told_again = new.seal(checkpoints.keys, checkpoints.copies)
    new.open_run(history.run("r1").record.model_copy(update={"id": "r2"}))
    new.close_run("r2", RunOutcome.SUCCEEDED, "written where it is now")
    told_again.make()
    assert verify_history(new, checkpoints.copies, checkpoints.keys.publics()).ok
    new.close()


def test_the_old_database_takes_no_further_event_and_says_where_the_history_is(
    history: History, checkpoints: Checkpoints, other: str
) -> None:
    history.close_run("r1", RunOutcome.SUCCEEDED, "")
    move(history, other, ANN, "")
    with pytest.raises(AuditError, match="was moved to .*UPKEEP_DATABASE_URL"):
        history.record("r1", "note", reason="too late")
    assert checkpoints.make() is None, "a checkpoint of the old database would contradict those of the new one"
    assert history.verify().ok
    with pytest.raises(BadInput, match="is not empty"):
        move(history, other, ANN, "")


def test_a_target_that_holds_anything_is_refused_and_left_alone(history: History, other: str) -> None:
    history.close_run("r1", RunOutcome.SUCCEEDED, "")
    stranger = History.open(other)
    stranger.record("", "note", reason="mine")
    with pytest.raises(BadInput, match="is not empty"):
        move(history, other, ANN, "")
    assert [event.reason for event in stranger.events("")] == ["mine"]
    history.record("r1", "note", reason="still written here")
    stranger.close()


def test_nothing_is_moved_while_a_run_is_open(history: History, other: str) -> None:
    with pytest.raises(BadInput, match="runs are open"):
        move(history, other, ANN, "")


def test_a_history_that_was_tampered_with_is_not_moved_and_the_target_stays_empty(
    history: History, raw: RawDatabase, other: str
) -> None:
    told(history)
    raw.drop_triggers()
    raw.execute("UPDATE event SET body = replace(body, 'web-02', 'web-03') WHERE seq = 3")
    raw.commit()
    with pytest.raises(AuditError, match="event 3 was changed"):
        move(history, other, ANN, "")
    new = History.open(other)
    assert new.runs() == []
    new.close()
    history.record("r1", "note", reason="still written here")


def test_a_move_that_broke_off_between_its_two_commits_is_finished_by_calling_it_again(
    history: History, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy was kept, and then the power failed before the old database was closed."""
    history.close_run("r1", RunOutcome.SUCCEEDED, "")
    real, opened = moving.writing, []

    def cut(engine):
        opened.append(engine)
        return real(engine) if len(opened) == 2 else real_without_commit(engine)

    import contextlib

    @contextlib.contextmanager
    def real_without_commit(engine):
        with real(engine) as connection:
            yield connection
            raise KeyboardInterrupt

    monkeypatch.setattr(moving, "writing", cut)
    with pytest.raises(KeyboardInterrupt):
        move(history, other, ANN, "")
    monkeypatch.undo()
    assert move(history, other, ANN, "").finished
    with pytest.raises(AuditError, match="was moved to"):
        history.record("r1", "note")
    new = History.open(other)
    assert new.verify().ok
    assert new.events("")[:1] == history.events("")
    new.close()
