"""The outbox (issue 5: 4, 6; faults E4, 50, 54): put once, sent by one sender at a time, kept until it went."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from upkeep.audit.history import History
from upkeep.audit.outbox import HELD_FOR, LONGEST_WAIT, MOST_ATTEMPTS, Outbox

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def outbox(history: History) -> Outbox:
    return Outbox(history)


def test_the_same_key_is_put_once_and_keeps_its_first_body(outbox: Outbox) -> None:
    assert outbox.put("note", "k", "snow/CHG1", {"text": "first"}, NOW)
    assert not outbox.put("note", "k", "snow/CHG1", {"text": "second"}, NOW)
    assert [letter.body for letter in outbox.all()] == [{"text": "first"}]


def test_many_threads_that_put_one_key_leave_one_letter(outbox: Outbox) -> None:
    with ThreadPoolExecutor(8) as threads:
        first = list(threads.map(lambda n: outbox.put("note", "k", "t", {"n": n}, NOW), range(24)))
    assert first.count(True) == 1
    assert len(outbox.all()) == 1


def test_what_one_sender_took_no_other_gets_until_it_is_held_too_long(outbox: Outbox) -> None:
    outbox.put("note", "k", "t", {}, NOW)
    assert [letter.key for letter in outbox.due(NOW)] == ["k"]
    assert outbox.due(NOW + HELD_FOR - timedelta(seconds=1)) == []
    assert [letter.key for letter in outbox.due(NOW + HELD_FOR)] == ["k"], "its sender has died"


def test_what_was_sent_is_never_due_again(outbox: Outbox) -> None:
    outbox.put("note", "k", "t", {}, NOW)
    (letter,) = outbox.due(NOW)
    outbox.sent(letter.id, NOW)
    assert outbox.due(NOW + timedelta(days=1)) == []
    assert outbox.all()[0].sent_at == NOW


def test_a_failed_letter_waits_longer_each_time_and_never_longer_than_half_an_hour(outbox: Outbox) -> None:
    outbox.put("note", "k", "t", {}, NOW)
    now, waits = NOW, []
    for _ in range(14):
        (letter,) = outbox.due(now)
        outbox.failed(letter.id, "no answer", now)
        wait = timedelta(seconds=1)
        while not outbox.due(now + wait):
            wait += timedelta(seconds=1) if wait < timedelta(seconds=5) else wait
            assert wait < timedelta(hours=2)
        waits.append(wait)
        now += wait
        outbox.release(letter.id)
    assert waits == sorted(waits)
    assert waits[0] == timedelta(seconds=5)
    assert waits[-1] < 2 * LONGEST_WAIT


def test_the_other_sides_retry_after_is_honoured(outbox: Outbox) -> None:
    outbox.put("note", "k", "t", {}, NOW)
    (letter,) = outbox.due(NOW)
    outbox.failed(letter.id, "429", NOW, retry_after=timedelta(minutes=7))
    assert outbox.due(NOW + timedelta(minutes=7, seconds=-1)) == []
    assert outbox.due(NOW + timedelta(minutes=7))


def test_letters_to_one_target_stay_in_order_and_others_are_not_kept_waiting(outbox: Outbox) -> None:
    for key, target in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        outbox.put("note", key, target, {}, NOW)
    first = outbox.due(NOW, limit=1)
    outbox.failed(first[0].id, "no answer", NOW)
    assert [letter.key for letter in outbox.due(NOW)] == ["b1"], "a2 comes after a1"


def test_what_can_never_go_is_given_up_and_stays_readable(outbox: Outbox) -> None:
    outbox.put("note", "gone", "t", {}, NOW)
    (letter,) = outbox.due(NOW)
    outbox.failed(letter.id, "the ticket does not exist", NOW, final=True)
    outbox.put("note", "stubborn", "u", {}, NOW)
    (letter,) = outbox.due(NOW)
    for _ in range(MOST_ATTEMPTS):
        outbox.failed(letter.id, "no answer", NOW)
    assert outbox.due(NOW + timedelta(days=9)) == []
    assert [(one.key, one.last_error) for one in outbox.all(unsent=True)] == [
        ("gone", "the ticket does not exist"),
        ("stubborn", "no answer"),
    ]


def test_a_letter_given_up_does_not_block_those_behind_it(outbox: Outbox) -> None:
    for key in ("a1", "a2"):
        outbox.put("note", key, "a", {}, NOW)
    (letter, _) = outbox.due(NOW)
    outbox.failed(letter.id, "400", NOW, final=True)
    assert [one.key for one in outbox.due(NOW + HELD_FOR)] == ["a2"]


def test_secrets_are_masked_in_bodies_and_errors(history: History, outbox: Outbox, database: Path) -> None:
    history.mask("hunter2-hunter2")
    outbox.put("note", "k", "t", {"text": "password hunter2-hunter2"}, NOW)
    (letter,) = outbox.due(NOW)
    outbox.failed(letter.id, "refused with hunter2-hunter2", NOW)
    assert "hunter2" not in repr(outbox.all())
    assert b"hunter2" not in b"".join(path.read_bytes() for path in database.parent.glob("history.db*"))


def test_only_the_kinds_a_sender_knows_are_handed_to_it(outbox: Outbox) -> None:
    outbox.put("notification", "n", "t", {}, NOW)
    outbox.put("ticket.note", "t", "t", {}, NOW)
    assert [letter.key for letter in outbox.due(NOW, kinds=("ticket.note",))] == ["t"]
