"""Saying in the history that this controller lives, so that nobody else takes its run up."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from tasks.session import RunSession
from upkeep.errors import AuditError

LEASE = timedelta(seconds=60)
RENEWED_EVERY = timedelta(seconds=20)

log = logging.getLogger(__name__)


class Vouching:
    """Renews a run's lease while a `with` lasts; a missed renewal costs nothing until the lease ends."""

    def __init__(self, session: RunSession) -> None:
        self._session, self._ended = session, threading.Event()
        self._thread = threading.Thread(target=self._renew, name="vouching", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        while True:
            try:
                self._session.history.vouch(self._session.record.id, datetime.now(UTC) + LEASE)
            except AuditError as error:
                log.warning("the run's lease could not be renewed: %s", error)
            if self._ended.wait(RENEWED_EVERY.total_seconds()):
                return
