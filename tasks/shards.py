"""A run's side of its shards: orders go into the order book, answers come back from it, dead shards are replaced."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from prefect.runtime import deployment

from tasks.session import RunSession
from tasks.start_shard import NoShards, start_shard
from upkeep.audit.history import History
from upkeep.audit.order_book import HostAnswer, HostOrder, OrderBook
from upkeep.domain.orders import Changed
from upkeep.domain.spreading import shards_of
from upkeep.errors import AuditError, BadInput

log = logging.getLogger(__name__)

LOOKED_EVERY = timedelta(milliseconds=250)
LOOKED_AFTER_EVERY = timedelta(seconds=5)

Answered = Callable[["Future[HostAnswer]"], None]


@contextmanager
def shards_for(session: RunSession) -> Iterator[Shards | None]:
    """The run's shards while the `with` lasts; None when its own process works on its hosts.

    Raises:
        BadInput: the plan asks for shards, and they cannot be had here.
    """
    plan, number = session.record.plan, shards_of(session.record.plan, len(session.hosts))
    if number == 1 or session.record.dry_run or not deployment.id:
        yield None
        return
    if session.history.database[0].dialect.name == "sqlite":
        if plan.shards != "auto":
            raise BadInput(
                f"the plan asks for {number} shards, and the history is an SQLite file, which workers on other machines do not see",
                allowed="shards with PostgreSQL, or shards: 1",
                remedy="set UPKEEP_DATABASE_URL=postgresql://… for server and workers (docs/scale.md)",
            )
        yield None
        return
    shards = Shards(session, number)
    try:
        shards.start_missing()
    except NoShards as error:
        if plan.shards != "auto":
            raise BadInput(str(error), remedy="prefect deploy --all --prefect-file deployments/prefect.yaml") from error
        log.warning("%s; this process works on all hosts itself", error)
        yield None
        return
    with shards:
        yield shards


def settle_orders(history: History, run: str) -> None:
    """Before a run goes on: wait for hosts that living shards still work on, take all other orders back, write down what came of them.

    Raises:
        AuditError: the history cannot be used.
    """
    book = OrderBook(history, run)
    while book.withdraw():
        time.sleep(LOOKED_EVERY.total_seconds())
    for _, answer in book.collect():
        if isinstance(answer, Changed):
            history.host_result(run, answer.host, answer.result)


class Shards:
    """Hands host orders to shards; one thread of its own talks to the order book."""

    def __init__(self, session: RunSession, number: int) -> None:
        self._session, self._number = session, number
        self._book = OrderBook(session.history, session.record.id)
        self._lanes = {name: place % number for place, name in enumerate(session.hosts)}
        self._new: SimpleQueue[tuple[HostOrder, Future[HostAnswer]]] = SimpleQueue()
        self._coming: list[tuple[HostOrder, Future[HostAnswer]]] = []
        self._open: dict[int, Future[HostAnswer]] = {}
        self._cancelled = False
        self._wake, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="shards", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._wake.set()
        self._thread.join()

    def hand_out(self, order: HostOrder, answered: Answered) -> None:
        """Give an order to whichever shard takes it; `answered` is called once, from another thread."""
        future: Future[HostAnswer] = Future()
        future.add_done_callback(answered)
        self._new.put((order, future))
        self._wake.set()

    def start_missing(self) -> None:
        """Start as many shards as are neither alive nor waiting for a worker.

        Raises:
            NoShards: the Prefect server does not know how to start one.
        """
        there = sum(shard.alive or shard.waiting for shard in self._book.shards())
        for _ in range(self._number - there):
            number = self._book.start_shard()
            start_shard(self._session.record.id, number, number % self._number)

    def _work(self) -> None:
        try:
            look_after_at = time.monotonic() + LOOKED_AFTER_EVERY.total_seconds()
            while not self._ended.is_set():
                self._put()
                self._collect()
                self._pass_on_cancel()
                if time.monotonic() >= look_after_at:
                    self._replace_dead()
                    look_after_at = time.monotonic() + LOOKED_AFTER_EVERY.total_seconds()
                self._wake.wait(LOOKED_EVERY.total_seconds())
                self._wake.clear()
        except AuditError as error:
            self._fail(error)

    def _put(self) -> None:
        self._coming += self._waiting()
        if self._coming:
            numbers = self._book.put([(order, self._lanes.get(order.host, 0)) for order, _ in self._coming])
            self._open |= dict(zip(numbers, (future for _, future in self._coming), strict=True))
            self._coming = []

    def _waiting(self) -> list[tuple[HostOrder, Future[HostAnswer]]]:
        found = []
        try:
            while True:
                found.append(self._new.get_nowait())
        except Empty:
            return found

    def _collect(self) -> None:
        for number, answer in self._book.collect():
            self._open.pop(number).set_result(answer)

    def _pass_on_cancel(self) -> None:
        if self._session.cancelled and not self._cancelled:
            self._cancelled = True
            self._book.cancel(self._session.cancelled)

    def _replace_dead(self) -> None:
        try:
            self.start_missing()
        except NoShards as error:
            log.warning("a shard died and no other could be started: %s; it is tried again", error)

    def _fail(self, error: AuditError) -> None:
        """Without the history nothing goes on: everybody who waits is told, now and later."""
        for future in (*self._open.values(), *(future for _, future in self._coming)):
            future.set_exception(error)
        while not self._ended.is_set():
            for _, future in self._waiting():
                future.set_exception(error)
            self._wake.wait()
            self._wake.clear()
