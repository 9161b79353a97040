"""Who guesses tokens is slowed down: after a few wrong ones an address waits, each time twice as long."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from fastapi import HTTPException
from starlette.requests import Request

FREE = 5
"""Wrong tokens that cost nothing: people mistype."""
FIRST_SECONDS = 2.0
LONGEST_SECONDS = 300.0
FORGOTTEN_SECONDS = 900.0
"""An address that guessed nothing for so long begins anew."""
MOST_ADDRESSES = 10_000
_IPV6_PREFIX = 64


@dataclass
class _Guesses:
    wrong: int
    last: float


class Guessing:
    """Counts wrong tokens by address (by /64 of IPv6), in the memory of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, _Guesses] = OrderedDict()
        self._lock = threading.Lock()

    def refuse(self, address: str) -> None:
        """Nothing is looked at while the address has to wait, so that guessing on learns nothing.

        Raises:
            HTTPException: 429 with Retry-After in seconds.
        """
        seconds = self.wait(address)
        if seconds > 0:
            whole = math.ceil(seconds)
            why = f"too many wrong tokens came from {address}; the next one is looked at in {whole} s"
            raise HTTPException(429, why, headers={"Retry-After": str(whole)})

    def wait(self, address: str) -> float:
        """Seconds until the address is listened to again."""
        with self._lock:
            guesses = self._known.get(_counted(address))
            if guesses is None or guesses.wrong < FREE:
                return 0.0
            pause = min(FIRST_SECONDS * 2.0 ** (guesses.wrong - FREE), LONGEST_SECONDS)
            return max(0.0, guesses.last + pause - self._clock())

    def wrong(self, address: str) -> None:
        """A token from there was nobody's."""
        now, counted = self._clock(), _counted(address)
        with self._lock:
            guesses = self._known.pop(counted, None)
            if guesses is None or now - guesses.last > FORGOTTEN_SECONDS:
                guesses = _Guesses(0, now)
            guesses.wrong, guesses.last = min(guesses.wrong + 1, 64), now
            self._known[counted] = guesses
            while len(self._known) > MOST_ADDRESSES:
                self._known.popitem(last=False)

    def right(self, address: str) -> None:
        """A token from there was somebody's: the address begins anew."""
        with self._lock:
            self._known.pop(_counted(address), None)


def guessing_of(request: Request) -> Guessing:
    """The one of the application that is asked."""
    return cast("Guessing", request.app.state.guessing)


def _counted(address: str) -> str:
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(read, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((read, _IPV6_PREFIX), strict=False))
    return str(read)
