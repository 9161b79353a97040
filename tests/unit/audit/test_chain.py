"""The chain of events: edits, removals, insertions and moves are found; the database refuses them in the first place (fault 55)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from upkeep.audit.history import History


@pytest.fixture
def ten(history: History, database: Path) -> sqlite3.Connection:
    for number in range(9):
        history.record("r1", "note", reason=f"n{number}")
    return sqlite3.connect(database)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = '{}' WHERE seq = 3",
        "DELETE FROM event WHERE seq = 3",
        "INSERT OR REPLACE INTO event SELECT seq, at, run, action, host, '{}', prev_hash, hash FROM event WHERE seq = 3",
        "INSERT INTO event SELECT 11, at, run, action, host, body, prev_hash, 'x' FROM event WHERE seq = 3",
    ],
)
def test_the_database_refuses_to_change_an_event_or_to_fork_the_chain(ten: sqlite3.Connection, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        ten.execute(statement)


def _swap(db: sqlite3.Connection) -> None:
    db.executescript(
        "UPDATE event SET seq = 99 WHERE seq = 4; UPDATE event SET seq = 4 WHERE seq = 5; UPDATE event SET seq = 5 WHERE seq = 99"
    )


TAMPERINGS: list[tuple[str, Callable[[sqlite3.Connection], object], int]] = [
    ("edit", lambda db: db.execute("UPDATE event SET body = replace(body, 'n3', 'n4') WHERE seq = 5"), 5),
    ("edit a column only", lambda db: db.execute("UPDATE event SET action = 'nothing' WHERE seq = 5"), 5),
    ("delete", lambda db: db.execute("DELETE FROM event WHERE seq = 5"), 5),
    ("delete the first", lambda db: db.execute("DELETE FROM event WHERE seq = 1"), 1),
    ("reorder", _swap, 4),
]


@pytest.mark.parametrize(("tamper", "bad_seq"), [case[1:] for case in TAMPERINGS], ids=[case[0] for case in TAMPERINGS])
def test_with_the_triggers_gone_tampering_is_found_and_the_first_bad_event_named(
    history: History, ten: sqlite3.Connection, tamper: Callable[[sqlite3.Connection], object], bad_seq: int
) -> None:
    assert history.verify().ok
    for name in ("event_no_update", "event_no_delete", "event_no_replace"):
        ten.execute(f"DROP TRIGGER {name}")
    tamper(ten)
    ten.commit()
    state = history.verify()
    assert (state.ok, state.bad_seq) == (False, bad_seq)
    assert str(bad_seq) in state.reason
