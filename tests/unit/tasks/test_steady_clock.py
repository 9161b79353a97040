"""Soak times on a controller whose clock is set (faults 12; issue 3: 2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from tasks import steady_clock


class Tomorrow(datetime):
    """A clock that somebody set a day ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(days=1)


def test_a_clock_that_is_set_ahead_does_not_cut_a_soak_time_short(monkeypatch: pytest.MonkeyPatch) -> None:
    before = steady_clock.steady_now()
    monkeypatch.setattr(steady_clock, "datetime", Tomorrow)
    assert timedelta() <= steady_clock.steady_now() - before < timedelta(minutes=1)
    assert steady_clock.wall_now() - datetime.now(UTC) > timedelta(hours=23)
