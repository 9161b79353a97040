"""A host whose contact is lost while its dead-man switch is armed (issue 3: 1, 4; faults 30, 38)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import roll_back_host
from tasks.roll_back_host import guarded_until, put_back, wait_for_host
from upkeep.domain.change import HostOutcome, HostResult, Journal, JournalState, Step
from upkeep.domain.failure import FailureClass
from upkeep.domain.record import Actor
from upkeep.errors import StepFailed, Unreachable

LOST = Unreachable("h1", "the connection broke")
ORDER = SimpleNamespace(dead_man=timedelta(minutes=10))


@dataclass
class Change:
    """A host that gives these answers, one after the other; an error is raised."""

    to_roll_back: list[Journal | Exception]
    to_inspect: list[Journal | Exception]
    rolled_back: int = 0

    def roll_back(self, *_: object, **__: object) -> Journal:
        self.rolled_back += 1
        return self._given(self.to_roll_back)

    def inspect(self) -> SimpleNamespace:
        return SimpleNamespace(journal=self._given(self.to_inspect))

    def _given(self, answers: list[Journal | Exception]) -> Journal:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Session:
    """What putting back needs of a run."""

    cancelled: str = ""
    record: Any = field(default_factory=lambda: SimpleNamespace(id="r1", of_run="", plan=None, release=None))
    history: Any = field(default_factory=lambda: SimpleNamespace(findings=lambda *_: None))

    @contextmanager
    def step(self, host: str, step: Step, *, stage: str) -> Iterator[SimpleNamespace]:
        try:
            yield SimpleNamespace(body={}, reason="")
        except Unreachable as error:
            raise StepFailed(host, step, error) from error


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_back_host, "RECONNECT_EVERY", timedelta())
    monkeypatch.setattr(roll_back_host, "watch_healthy", lambda *_, **__: [])
    monkeypatch.setattr(roll_back_host, "is_one_way", lambda _: False)


def journal(state: JournalState) -> Journal:
    return Journal(state=state, from_version="1", to_version="2", reason="no commit in time")


def bad(change: Change, until: float | None) -> HostResult:
    work = SimpleNamespace(host=SimpleNamespace(name="h1"), transport=None, profile=None, change=change)
    verify = FailureClass.VERIFY
    return put_back(Session(), work, ORDER, reason="not well", failure_class=verify, stage="", guarded_until=until)  # type: ignore[arg-type]


def lost(change: Change, session: Session) -> HostResult:
    work = SimpleNamespace(host=SimpleNamespace(name="h1"), transport=None, profile=None, change=change)
    return wait_for_host(session, work, ORDER, StepFailed("h1", Step.VERIFY, LOST), stage="")  # type: ignore[arg-type]


def test_contact_lost_on_the_way_back_again_and_again_is_no_failure_while_the_guard_is_armed() -> None:
    switched, back = journal(JournalState.SWITCHED), journal(JournalState.ROLLED_BACK)
    change = Change([LOST, LOST, back], [switched, LOST, switched])
    result = bad(change, guarded_until(ORDER))  # type: ignore[arg-type]
    assert (result.outcome, change.rolled_back) == (HostOutcome.ROLLED_BACK, 3)
    assert result.failure_class is FailureClass.VERIFY, "what the host failed for stays what it failed for"
    assert result.reason.startswith("not well; contact was lost while it was put back")


def test_once_the_guard_must_have_acted_a_host_that_cannot_be_put_back_is_quarantined() -> None:
    change = Change([LOST], [])
    assert bad(change, 0.0).failure_class is FailureClass.ROLLBACK
    assert bad(Change([LOST], []), None).failure_class is FailureClass.ROLLBACK


def test_a_host_that_took_the_commit_before_contact_was_lost_is_not_put_back() -> None:
    change = Change([], [LOST, journal(JournalState.COMMITTED)])
    assert lost(change, Session()).outcome is HostOutcome.COMMITTED
    assert change.rolled_back == 0


def test_a_host_that_went_back_alone_is_left_alone_and_its_guard_is_who_did_it() -> None:
    acted = journal(JournalState.ROLLED_BACK).model_copy(update={"actor": "guard", "updated_at": 1_795_000_000})
    change, written = Change([], [LOST, acted]), []
    session = Session()
    session.record.actor = Actor(name="ann")
    session.history.record = lambda *told, **facts: written.append((told, facts))
    result = lost(change, session)
    assert (result.outcome, result.failure_class) == (HostOutcome.ROLLED_BACK, FailureClass.UNREACHABLE)
    assert "no commit in time" in result.reason
    ((told, facts),) = written
    assert told == ("r1", "host.guard_acted")
    assert (facts["actor"].kind, facts["actor"].on_behalf_of, facts["host"]) == ("guard", "ann", "h1")
    assert (facts["reason"], facts["body"]["to_version"]) == ("no commit in time", "1")


def test_what_the_controller_put_back_is_not_told_of_the_guard() -> None:
    change = Change([], [LOST, journal(JournalState.ROLLED_BACK)])
    assert lost(change, Session()).outcome is HostOutcome.ROLLED_BACK, "nothing is written in the guard's name"
