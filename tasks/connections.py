"""How many connections a run keeps open: the hosts it worked on last keep theirs, the others are rested and connect again when needed."""

from __future__ import annotations

import threading
from collections import OrderedDict

from upkeep.hosts.transport import Transport

MOST_KEPT = 256


class Connections:
    """Rests the connection that was not needed for the longest time; safe to use from many threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[str, Transport] = OrderedDict()
        self._lock = threading.Lock()

    def used(self, host: str, transport: Transport) -> None:
        """Note that a host's connection is about to be used."""
        with self._lock:
            self._kept[host] = transport
            self._kept.move_to_end(host)
            surplus = list(self._kept)[: max(0, len(self._kept) - self._most)]
            resting = {name: self._kept.pop(name) for name in surplus}
        busy = {name: one for name, one in resting.items() if not one.rest()}
        if busy:
            with self._lock:
                for name, one in busy.items():
                    self._kept.setdefault(name, one)
                    self._kept.move_to_end(name, last=False)
