"""A host whose run's controller died just after the commit (issue 3: 1; fault 28)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest

from tasks import take_up_host
from tasks.take_up_host import unlock_committed
from upkeep.domain.change import Journal, JournalState, Step
from upkeep.domain.record import Happening
from upkeep.errors import HostError, HostLocked
from upkeep.hosts.host_change import Order

JOURNAL = Journal(state=JournalState.COMMITTED, run="r1", fence=7, from_version="1", to_version="2")
ORDER = Order("r1", "root", "test", 0, "1", "2", "", 0, timedelta(minutes=1), timedelta(minutes=1))


class Run:
    """A run with these steps behind it; what it asks of its host is kept."""

    def __init__(self, *rows: tuple[Step, Happening], trouble: HostError | None = None) -> None:
        self.rows = [SimpleNamespace(step=step, happening=happening) for step, happening in rows]
        self.trouble = trouble
        self.freed: list[int] = []
        self.record = SimpleNamespace(id="r1")
        self.history = self

    def steps(self, _run: str, _host: str) -> list[SimpleNamespace]:
        return self.rows

    def work(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(host=SimpleNamespace(name=name), change=self)

    def release_lock(self, order: Order) -> None:
        if self.trouble:
            raise self.trouble
        self.freed.append(order.fence)

    @contextmanager
    def step(self, *_: object, **__: object) -> Iterator[None]:
        yield


@pytest.fixture(autouse=True)
def ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(take_up_host, "order_again", lambda *_: ORDER)


def taken_up(run: Run) -> list[int]:
    unlock_committed(run, "h1", JOURNAL, "100 %")  # type: ignore[arg-type]
    return run.freed


LOCKED, BEGUN, FREED = (Step.LOCK, Happening.OK), (Step.UNLOCK, Happening.INTENT), (Step.UNLOCK, Happening.OK)


def test_a_host_whose_unlocking_never_began_or_never_ended_is_given_free() -> None:
    assert taken_up(Run(LOCKED, (Step.COMMIT, Happening.OK))) == [7]
    assert taken_up(Run(LOCKED, BEGUN, (Step.WATCH, Happening.OK))) == [7]


def test_a_host_that_was_given_free_is_left_alone() -> None:
    assert taken_up(Run(LOCKED, FREED)) == []
    assert taken_up(Run()) == []


def test_a_host_that_another_run_holds_by_now_stays_committed() -> None:
    assert taken_up(Run(LOCKED, trouble=HostLocked("h1", "run r2 holds it"))) == []
