"""Looking after tickets without end: judge what came, tell them what happened, send what lies in the outbox."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

from tasks.judge_deliveries import Judged, Start, judge_deliveries
from tasks.keep_ticket import is_bound
from tasks.send_outbox import send_outbox
from tasks.session import RunSession
from tasks.tell_tickets import MOVE, NOTE, tell_ticket, tell_tickets
from upkeep.errors import UpkeepError
from upkeep.services.prefect_api import PrefectApi
from upkeep.wiring import Site

TOLD_EVERY = timedelta(seconds=5)
_LAST_WORDS = timedelta(seconds=30)
log = logging.getLogger(__name__)


def attend_once(site: Site, start: Start | None = None) -> list[Judged]:
    """One round.

    Raises:
        UpkeepError: the history cannot be used, or tickets.yaml is wrong.
    """
    judged = judge_deliveries(site, start or PrefectApi.of().start) if site.tickets is not None else []
    tell_tickets(site)
    send_outbox(site)
    return judged


class TellingTicket:
    """Tells a run's ticket what happens while a `with` lasts, so that a run in a terminal needs no other process for it."""

    def __init__(self, site: Callable[[], Site], session: RunSession) -> None:
        self._site, self._session = site, session
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ticket", daemon=True)

    def __enter__(self) -> Self:
        if is_bound(self._session.record):
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_WORDS.total_seconds())

    def _work(self) -> None:
        while True:
            over = self._ended.wait(TOLD_EVERY.total_seconds())
            try:
                if self._site().tickets is None:
                    return
                tell_ticket(self._site(), self._session.record.id)
                send_outbox(self._site(), kinds=(NOTE, MOVE), target=self._session.record.ticket)
            except UpkeepError as trouble:
                log.warning("the ticket could not be told: %s", trouble)
            if over:
                return
