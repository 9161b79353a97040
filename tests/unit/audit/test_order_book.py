"""Orders that shards take from a run (issue 4: 7): each is one shard's at a time, a dead shard's become another's, each is answered once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from upkeep.audit import order_book
from upkeep.audit.history import History
from upkeep.audit.order_book import HELD_FOR, OrderBook
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.facts import HostFacts
from upkeep.domain.failure import FailureClass
from upkeep.domain.orders import Change, Changed, Check, Checked, Undo

DONE = HostResult(outcome=HostOutcome.COMMITTED)


@pytest.fixture
def book(history: History) -> OrderBook:
    return OrderBook(history, "r1")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """The database's clock, put forward."""

    def put_forward(by: timedelta) -> None:
        before = order_book._now
        monkeypatch.setattr(order_book, "_now", lambda session: before(session) + by)

    return put_forward


def test_what_is_taken_and_answered_is_what_was_put(book: OrderBook) -> None:
    orders = [Check("a"), Change("b", "canary"), Undo("c", "25 %", "got worse", FailureClass.REGRESS)]
    numbers = book.put([(order, 0) for order in orders])
    shard = book.start_shard()
    claims = book.claim(shard, 0, 10)
    assert [(claim.id, claim.order, claim.again) for claim in claims] == [
        (number, order, False) for number, order in zip(numbers, orders, strict=True)
    ]
    answers = [Checked("a", HostFacts(os_id="debian"), None, down=True), Changed("b", DONE), Changed("c", DONE)]
    assert all(book.answer(claim, answer) for claim, answer in zip(claims, answers, strict=True))
    assert book.collect() == list(zip(numbers, answers, strict=True))
    assert book.collect() == []


def test_no_order_is_two_shards_at_a_time(book: OrderBook) -> None:
    book.put([(Check(f"h{number}"), number % 4) for number in range(60)])
    shards = [book.start_shard() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda one: [book.claim(one, 0, 4) for _ in range(5)], shards))
    ids = [claim.id for claims in taken for some in claims for claim in some]
    assert len(ids) == len(set(ids)) == 60


def test_a_shard_takes_its_own_lane_first_and_then_what_others_left(book: OrderBook) -> None:
    book.put([(Check(f"h{number}"), number % 2) for number in range(4)])
    assert [claim.order.host for claim in book.claim(book.start_shard(), 1, 3)] == ["h1", "h3", "h0"]


def test_a_dead_shards_order_becomes_anothers_and_its_late_answer_counts_for_nothing(book: OrderBook, later) -> None:
    book.put([(Change("a", "canary"), 0)])
    first, second = book.start_shard(), book.start_shard()
    (lost,) = book.claim(first, 0, 1)
    later(HELD_FOR - timedelta(seconds=2))
    assert book.claim(second, 0, 1) == []
    later(timedelta(seconds=4))
    (again,) = book.claim(second, 0, 1)
    assert again.again
    assert not book.answer(lost, Changed("a", HostResult(outcome=HostOutcome.FAILED)))
    assert book.answer(again, Changed("a", DONE))
    assert not book.answer(again, Changed("a", DONE))
    assert [answer for _, answer in book.collect()] == [Changed("a", DONE)]


def test_a_living_shard_keeps_its_orders_and_is_seen_to_live(book: OrderBook, later) -> None:
    book.put([(Check("a"), 0)])
    shard = book.start_shard()
    assert [(s.alive, s.waiting) for s in book.shards()] == [(False, True)]
    book.begin_shard(shard, "m:b:1:2")
    (claim,) = book.claim(shard, 0, 1)
    later(HELD_FOR - timedelta(seconds=1))
    assert book.renew(shard) == {claim.id}
    later(HELD_FOR - timedelta(seconds=1))
    assert book.claim(book.start_shard(), 0, 1) == []
    assert book.shards()[0].alive
    later(timedelta(seconds=2))
    assert not book.shards()[0].alive
    book.begin_shard(shard, "m:b:1:2")
    book.end_shard(shard)
    assert not book.shards()[0].alive


def test_a_run_that_goes_on_takes_back_what_nobody_holds_and_knows_what_is_still_held(book: OrderBook) -> None:
    book.put([(Check("a"), 0), (Check("b"), 0)])
    shard = book.start_shard()
    (claim,) = book.claim(shard, 0, 1)
    assert book.withdraw() == 1
    assert book.claim(shard, 0, 5) == []
    assert book.answer(claim, Checked("a"))
    assert book.withdraw() == 0


def test_shards_take_orders_only_while_the_run_is_open_and_its_controller_vouches(book: OrderBook, history) -> None:
    assert not book.conducted()
    history.vouch("r1", datetime.now(UTC) + timedelta(minutes=1))
    assert book.conducted()
    history.close_run("r1", RunOutcome.SUCCEEDED, "")
    assert not book.conducted()


def test_a_cancelled_run_says_so_to_its_shards(book: OrderBook) -> None:
    assert book.cancelled() == ""
    book.cancel("Cancel in the UI")
    assert book.cancelled() == "Cancel in the UI"
    assert book.collect() == []
