"""A run that is spread over shards (issue 4: 7): every order is answered once, a dead shard is replaced, a run that goes on waits for what is in work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import shards as shards_module
from tasks.shards import Shards, settle_orders, shards_for
from tests.unit.audit.conftest import run_record
from upkeep.audit.history import History
from upkeep.audit.order_book import OrderBook
from upkeep.domain.change import HostOutcome, HostResult
from upkeep.domain.orders import Change, Changed, Check, Checked
from upkeep.domain.plan import Plan
from upkeep.domain.spreading import shards_of
from upkeep.errors import AuditError, BadInput

DONE = HostResult(outcome=HostOutcome.COMMITTED)
PLAN = Plan(name="night", profile="x", release="r")


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History.open(f"sqlite:///{tmp_path / 'history.db'}")
    opened.open_run(run_record())
    yield opened
    opened.close()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    made: list[tuple[str, int, int]] = []
    monkeypatch.setattr(shards_module, "start_shard", lambda *facts: made.append(facts))
    return made


def session_of(history: History, **changes: object) -> Any:
    facts = {"record": SimpleNamespace(id="r1", plan=PLAN, dry_run=False), "hosts": {"a": 1, "b": 2, "c": 3}}
    return SimpleNamespace(**(facts | {"history": history, "cancelled": ""} | changes))


@pytest.mark.parametrize(
    ("shards", "hosts", "number"),
    [
        ("auto", 199, 1),
        ("auto", 200, 2),
        ("auto", 1000, 6),
        ("auto", 100_000, 16),
        (3, 300, 3),
        (8, 5, 5),
        (1, 9999, 1),
    ],
)
def test_large_runs_are_spread_by_themselves_and_others_as_the_plan_says(shards, hosts: int, number: int) -> None:
    assert shards_of(PLAN.model_copy(update={"shards": shards}), hosts) == number


def test_every_order_goes_through_the_book_and_is_answered_once(history: History, started) -> None:
    book, answers = OrderBook(history, "r1"), SimpleQueue()
    with Shards(session_of(history), 2) as shards:
        for order in (Check("a"), Change("b", "canary")):
            shards.hand_out(order, lambda future: answers.put(future.result()))
        claims = []
        while len(claims) < 2:
            claims += book.claim(1, 0, 5)
        for claim in claims:
            assert book.answer(claim, Checked("a") if isinstance(claim.order, Check) else Changed("b", DONE))
        assert [answers.get(timeout=30), answers.get(timeout=30)] == [Checked("a"), Changed("b", DONE)]
    assert answers.empty()


def test_as_many_shards_are_started_as_are_neither_alive_nor_waiting_for_a_worker(history: History, started) -> None:
    book, shards = OrderBook(history, "r1"), Shards(session_of(history), 3)
    shards.start_missing()
    assert [lane for _, _, lane in started] == [1, 2, 0]
    shards.start_missing()
    assert len(started) == 3, "those that wait for a worker are not started once more"
    book.begin_shard(started[0][1], "m:b:1:2")
    book.end_shard(started[0][1])
    shards.start_missing()
    assert len(started) == 4


def test_when_the_history_cannot_be_used_everybody_who_waits_is_told(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise AuditError("the disk is full")

    monkeypatch.setattr(OrderBook, "put", gone)
    told: SimpleQueue[BaseException | None] = SimpleQueue()
    with Shards(session_of(history), 2) as shards:
        for host in ("a", "b"):
            shards.hand_out(Check(host), lambda future: told.put(future.exception()))
            assert isinstance(told.get(timeout=30), AuditError)


def test_a_cancelled_run_tells_its_shards(history: History, started) -> None:
    book = OrderBook(history, "r1")
    with Shards(session_of(history, cancelled="Cancel in the UI"), 2):
        over = threading.Event()
        while not book.cancelled():
            assert not over.wait(0.05)
    assert book.cancelled() == "Cancel in the UI"


def test_a_run_that_goes_on_waits_for_hosts_in_work_and_keeps_what_came_of_them(history: History) -> None:
    book = OrderBook(history, "r1")
    book.put([(Change("a", "canary"), 0), (Change("b", "canary"), 0)])
    (claim,) = book.claim(book.start_shard(), 0, 1)
    settling = threading.Thread(target=settle_orders, args=(history, "r1"))
    settling.start()
    assert settling.is_alive()
    assert book.answer(claim, Changed("a", DONE))
    settling.join(30)
    hosts = history.run("r1").hosts
    assert {name: host.outcome for name, host in hosts.items()} == {"a": HostOutcome.COMMITTED}
    assert book.claim(1, 0, 5) == []


def test_shards_over_an_sqlite_file_are_refused_with_the_remedy(history: History, monkeypatch) -> None:
    monkeypatch.setattr(shards_module, "deployment", SimpleNamespace(id="d"))
    record = SimpleNamespace(id="r1", plan=PLAN.model_copy(update={"shards": 3}), dry_run=False)
    with (
        pytest.raises(BadInput, match="UPKEEP_DATABASE_URL=postgresql"),
        shards_for(session_of(history, record=record)),
    ):
        pass


def test_a_run_in_a_process_of_its_own_is_not_spread(history: History, started) -> None:
    record = SimpleNamespace(id="r1", plan=PLAN.model_copy(update={"shards": 3}), dry_run=False)
    with shards_for(session_of(history, record=record)) as shards:
        assert shards is None
    assert started == []
