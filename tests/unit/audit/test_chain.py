"""The chain of events: edits, removals, insertions and moves are found; the database refuses them in the first place (fault 55)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.exc import DatabaseError

from tests.unit.audit.raw_database import RawDatabase
from upkeep.audit.history import History


@pytest.fixture
def ten(history: History, raw: RawDatabase) -> RawDatabase:
    for number in range(9):
        history.record("r1", "note", reason=f"n{number}")
    return raw


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = '{}' WHERE seq = 3",
        "DELETE FROM event WHERE seq = 3",
        "INSERT INTO event SELECT * FROM event WHERE seq = 3 ON CONFLICT (seq) DO UPDATE SET body = '{}'",
        "INSERT INTO event SELECT 11, at, run, action, host, body, prev_hash, 'x' FROM event WHERE seq = 3",
    ],
)
def test_the_database_refuses_to_change_an_event_or_to_fork_the_chain(ten: RawDatabase, statement: str) -> None:
    with pytest.raises(DatabaseError):
        ten.execute(statement)


def test_each_database_has_a_way_of_its_own_to_change_events_and_refuses_it(ten: RawDatabase) -> None:
    replace = (
        "INSERT OR REPLACE INTO event SELECT seq, at, run, action, host, '{}', prev_hash, hash FROM event WHERE seq = 3"
    )
    with pytest.raises(DatabaseError, match="append-only"):
        ten.execute(replace if ten.is_sqlite else "TRUNCATE event")


def _swap(db: RawDatabase) -> None:
    db.execute(
        "UPDATE event SET seq = 99 WHERE seq = 4; UPDATE event SET seq = 4 WHERE seq = 5; UPDATE event SET seq = 5 WHERE seq = 99"
    )


TAMPERINGS: list[tuple[str, Callable[[RawDatabase], object], int]] = [
    ("edit", lambda db: db.execute("UPDATE event SET body = replace(body, 'n3', 'n4') WHERE seq = 5"), 5),
    ("edit a column only", lambda db: db.execute("UPDATE event SET action = 'nothing' WHERE seq = 5"), 5),
    ("delete", lambda db: db.execute("DELETE FROM event WHERE seq = 5"), 5),
    ("delete the first", lambda db: db.execute("DELETE FROM event WHERE seq = 1"), 1),
    ("reorder", _swap, 4),
]


@pytest.mark.parametrize(("tamper", "bad_seq"), [case[1:] for case in TAMPERINGS], ids=[case[0] for case in TAMPERINGS])
def test_with_the_triggers_gone_tampering_is_found_and_the_first_bad_event_named(
    history: History, ten: RawDatabase, tamper: Callable[[RawDatabase], object], bad_seq: int
) -> None:
    assert history.verify().ok
    ten.drop_triggers()
    tamper(ten)
    ten.commit()
    state = history.verify()
    assert (state.ok, state.bad_seq) == (False, bad_seq)
    assert str(bad_seq) in state.reason
