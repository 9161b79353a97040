"""Everything that is asked before new hosts of a run are started."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tasks.keep_ticket import TicketKeeper
from tasks.keep_windows import WindowKeeper
from tasks.steady_clock import wall_now
from upkeep.audit.history import History
from upkeep.domain.record import RunRecord


class MayStart:
    """Windows and freezes first, then the change ticket; the stage in work is known once the engine is."""

    def __init__(self, history: History, record: RunRecord) -> None:
        self._windows, self._ticket = WindowKeeper(history, record), TicketKeeper(history, record)
        self.stage: Callable[[], str] = str

    def __call__(self, _steady: datetime) -> str:
        """Why no host may start now; empty when one may. Calendars and tickets go by the wall clock."""
        now = wall_now()
        return self._windows.may_start(now) or self._ticket.may_start(now, self.stage())
