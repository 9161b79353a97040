"""How often what Prefect's UI shows of a run is painted anew (issue 4, growth)."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks import board
from tasks.board import Board
from upkeep.domain.progress import HostProgress


class Painted:
    """What Prefect was given."""

    def __init__(self) -> None:
        self.tables: list[int] = []
        self.shares: list[float] = []

    def table(self, *, table: list[Any], **_: object) -> None:
        self.tables.append(len(table))

    def share(self, *_: object, progress: float, **__: object) -> str:
        self.shares.append(progress)
        return "the artifact's id"


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> Painted:
    painted = Painted()
    monkeypatch.setattr(board, "create_table_artifact", painted.table)
    monkeypatch.setattr(board, "create_progress_artifact", painted.share)
    monkeypatch.setattr(board, "update_progress_artifact", painted.share)
    return painted


def board_of(count: int) -> Board:
    session = SimpleNamespace(record=SimpleNamespace(id="r1"), hosts=range(count))
    made = Board(cast("Any", session), every=timedelta(seconds=5))
    made.progress.hosts = {f"h{number}": HostProgress() for number in range(count)}
    return made


def paint_events(made: Board, times: int) -> None:
    """Something happens before each painting."""
    for _ in range(times):
        made._dirty = True
        made._paint()


def test_up_to_two_hundred_hosts_are_painted_whenever_anything_happened(painted: Painted) -> None:
    made = board_of(199)
    paint_events(made, 3)
    made._paint()
    assert painted.tables == [199, 199, 199]
    assert len(painted.shares) == 3


def test_the_table_of_a_thousand_is_painted_every_sixth_time_and_how_far_it_is_every_time(painted: Painted) -> None:
    made = board_of(1000)
    paint_events(made, 12)
    assert painted.tables == [1000, 1000]
    assert len(painted.shares) == 12


def test_what_happened_last_is_in_the_table_though_nothing_follows(painted: Painted) -> None:
    made = board_of(1000)
    paint_events(made, 2)
    for _ in range(12):
        made._paint()
    assert painted.tables == [1000, 1000]


def test_the_end_is_painted_at_once(painted: Painted) -> None:
    made = board_of(1000)
    paint_events(made, 2)
    made._paint(at_end=True)
    made._paint(at_end=True)
    assert painted.tables == [1000, 1000]
