"""A clock that nobody can set: soak times last as long as they should, whatever happens to the controller's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_BEGAN, _BEGAN_SECONDS = datetime.now(UTC), time.monotonic()


def steady_now() -> datetime:
    """The time of day when this process began, plus the real time since then."""
    return _BEGAN + timedelta(seconds=time.monotonic() - _BEGAN_SECONDS)


def wall_now() -> datetime:
    """The time of day, as calendars and maintenance windows mean it."""
    return datetime.now(UTC)
