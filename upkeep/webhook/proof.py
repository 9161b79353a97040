"""Whether the history is whole: looked at when somebody asks, since it means reading all of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from upkeep.audit.verifying import HistoryState, verify_history
from upkeep.wiring import Site


@dataclass(frozen=True)
class Looked:
    """What was found, and when."""

    at: datetime
    took: timedelta
    state: HistoryState


class Proof:
    """One look at a time; who asks meanwhile gets the answer of that one."""

    def __init__(self, site: Site) -> None:
        self._site, self._lock = site, threading.Lock()
        self.last: Looked | None = None

    def look(self) -> Looked:
        """Verify events, checkpoints and copies."""
        begun, before = datetime.now(UTC), self.last
        with self._lock:
            if self.last is not None and self.last is not before:
                return self.last
            here = self._site.checkpoints
            state = verify_history(self._site.history, here.copies, here.keys.publics())
            self.last = Looked(begun, datetime.now(UTC) - begun, state)
            return self.last
