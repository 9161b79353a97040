"""Keeping to a rate: who wants to send is told how long to wait first; clock and waiting are the caller's."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

BYTES_PER_MBIT = 125_000
_SMALLEST_PIECE, _LARGEST_PIECE = 1024, 65_536
_PIECES_PER_SECOND = 20


@dataclass
class Bucket:
    """At most `bytes_per_second` over any time, all askers together; safe to use from many threads."""

    bytes_per_second: float
    _free_at: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def reserve(self, size_bytes: int, now: float) -> float:
        """Book `size_bytes`; the seconds to wait before sending them. `now` in seconds of a clock that never goes back."""
        with self._lock:
            begins = max(self._free_at, now)
            self._free_at = begins + size_bytes / self.bytes_per_second
        return begins - now


@dataclass(frozen=True)
class Throttle:
    """All the limits one transfer is under; none at all is no limit."""

    buckets: tuple[Bucket, ...] = ()

    @property
    def binds(self) -> bool:
        """Whether there is any limit."""
        return bool(self.buckets)

    @property
    def piece_bytes(self) -> int:
        """How much to send at a time so that the slowest limit is kept to smoothly."""
        slowest = min((bucket.bytes_per_second for bucket in self.buckets), default=float("inf"))
        return int(max(_SMALLEST_PIECE, min(_LARGEST_PIECE, slowest / _PIECES_PER_SECOND)))

    def reserve(self, size_bytes: int, now: float) -> float:
        """Book `size_bytes` with every limit; the seconds to wait before sending them."""
        return max((bucket.reserve(size_bytes, now) for bucket in self.buckets), default=0.0)


def bytes_per_second(mbit: float) -> float:
    """Megabits per second (powers of ten, as networks are sold) in bytes per second."""
    return mbit * BYTES_PER_MBIT
