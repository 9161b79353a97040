"""A shard's side of a run: what it holds, what it answered, and that it lives."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from tasks.collect import answer_for
from tasks.prepare_run import prepare_again
from tasks.session import RunSession
from upkeep.audit.order_book import RENEWED_EVERY, Claim, HostAnswer, OrderBook
from upkeep.domain.orders import Changed, Checked
from upkeep.errors import AuditError
from upkeep.process import this_process
from upkeep.wiring import Site

log = logging.getLogger(__name__)

LOOKED_EVERY_SECONDS = 0.25


class ShardPart:
    """One shard's orders. Hosts that another shard died over are worked on as in a resumed run: from what they say of themselves."""

    def __init__(self, site: Site, run: str, number: int, lane: int) -> None:
        self._book = OrderBook(site.history, run)
        self._number, self._lane = number, lane
        detail = site.history.run(run)
        site.history.act_for(run, detail.record.actor)
        prepared = prepare_again(site, detail)
        self._fresh, self._taken_up = (
            RunSession(site, prepared.record, prepared.targets, prepared.archives, resumed=resumed)
            for resumed in (False, True)
        )
        self._done: SimpleQueue[tuple[Claim, Callable[[], HostAnswer]]] = SimpleQueue()
        self._in_work = 0
        self.answered = 0
        self._wake, self._ended = threading.Event(), threading.Event()

    @property
    def hosts(self) -> int:
        """How many hosts the whole run has."""
        return len(self._fresh.hosts)

    def session_for(self, claim: Claim) -> RunSession:
        """What the host's task works with."""
        return self._taken_up if claim.again else self._fresh

    def goes_on(self) -> bool:
        """Write down what was answered; False when nothing is in work and the run takes no more from this shard."""
        self._wake.wait(LOOKED_EVERY_SECONDS)
        self._wake.clear()
        self._answer_all()
        self._listen_for_cancel()
        return self._in_work > 0 or self._book.conducted()

    def claim(self, at_once: int) -> list[Claim]:
        """Take orders until `at_once` hosts are in work; none when nobody conducts the run."""
        free = at_once - self._in_work
        if free <= 0 or not self._book.conducted():
            return []
        claims = self._book.claim(self._number, self._lane, free)
        self._in_work += len(claims)
        return claims

    def done(self, claim: Claim, answer: Callable[[], HostAnswer]) -> None:
        """A host's task has ended; called from any thread."""
        self._done.put((claim, answer))
        self._wake.set()

    @contextmanager
    def living(self) -> Iterator[None]:
        """Say that this shard lives while the `with` lasts."""
        self._book.begin_shard(self._number, this_process())
        renewing = threading.Thread(target=self._renew, name="shard lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._ended.set()
            renewing.join()
            self._fresh.close()
            self._taken_up.close()
            self._book.end_shard(self._number)

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED_EVERY.total_seconds()):
            try:
                self._book.renew(self._number)
            except AuditError as error:
                log.warning("the shard's lease could not be renewed: %s", error)

    def _answer_all(self) -> None:
        try:
            while True:
                claim, answer = self._done.get_nowait()
                self._in_work -= 1
                event = answer_for(claim.order, answer)
                assert isinstance(event, (Checked, Changed))  # noqa: S101 - what host orders are answered by
                if self._book.answer(claim, event):
                    self.answered += 1
                else:
                    log.warning("%s became another shard's meanwhile; its answer counts", claim.order.host)
        except Empty:
            return

    def _listen_for_cancel(self) -> None:
        if not self._fresh.cancelled and (reason := self._book.cancelled()):
            self._fresh.cancel(reason)
            self._taken_up.cancel(reason)
