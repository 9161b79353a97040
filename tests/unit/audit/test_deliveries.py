"""Deliveries of ticket systems (issue 5: 4; fault 50): kept once, judged by one at a time, lost by nobody."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from upkeep.audit.deliveries import HELD_FOR, LONGEST_WAIT, MOST_ATTEMPTS, Deliveries, Fate
from upkeep.audit.history import History
from upkeep.domain.ticket import TicketRef

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CHG1, CHG2 = TicketRef(source="snow", id="CHG1"), TicketRef(source="snow", id="CHG2")


@pytest.fixture
def deliveries(history: History) -> Deliveries:
    return Deliveries(history)


def test_a_delivery_that_comes_again_is_kept_once_also_when_many_come_at_a_time(deliveries: Deliveries) -> None:
    with ThreadPoolExecutor(8) as threads:
        kept = list(threads.map(lambda _: deliveries.keep(CHG1, "d1", "0" * 64, NOW), range(24)))
    assert kept.count(True) == 1
    assert len(deliveries.all()) == 1
    assert deliveries.keep(TicketRef(source="jsm", id="X-1"), "d1", "0" * 64, NOW), "ids are each source's own"


def test_all_deliveries_of_one_ticket_are_judged_together_and_by_one(deliveries: Deliveries) -> None:
    for number, ref in (("a", CHG1), ("b", CHG1), ("c", CHG2)):
        deliveries.keep(ref, number, "", NOW)
    first = deliveries.due(NOW)
    assert {str(ref): len(some) for ref, some in first.items()} == {"snow/CHG1": 2, "snow/CHG2": 1}
    deliveries.keep(CHG1, "later", "", NOW)
    assert deliveries.due(NOW) == {}, "CHG1 is being judged"
    deliveries.judged(first[CHG1], Fate.REFUSED, "not approved", NOW)
    assert [one.delivery for one in deliveries.due(NOW)[CHG1]] == ["later"]


def test_what_a_judge_that_died_had_taken_is_judged_by_the_next(deliveries: Deliveries) -> None:
    deliveries.keep(CHG1, "a", "", NOW)
    deliveries.due(NOW)
    assert deliveries.due(NOW + HELD_FOR - timedelta(seconds=1)) == {}
    assert CHG1 in deliveries.due(NOW + HELD_FOR)


def test_a_ticket_that_waits_is_due_at_its_planned_start(deliveries: Deliveries) -> None:
    deliveries.keep(CHG1, "a", "", NOW)
    start = NOW + timedelta(hours=5)
    deliveries.judged(deliveries.due(NOW)[CHG1], Fate.WAITING, "early", NOW, again_at=start)
    assert deliveries.due(start - timedelta(seconds=1)) == {}
    assert CHG1 in deliveries.due(start)


def test_a_started_change_is_known_by_ticket_and_plan(deliveries: Deliveries) -> None:
    deliveries.keep(CHG1, "a", "", NOW)
    taken = deliveries.due(NOW)[CHG1]
    deliveries.judged(taken, Fate.STARTED, "", NOW, plan_hash="p1", flow_run_id="f1")
    assert deliveries.started(CHG1, "p1") == "f1"
    assert deliveries.started(CHG1, "p2") == ""
    assert deliveries.started(CHG2, "p1") == ""


def test_what_cannot_be_judged_is_tried_again_and_given_up_only_after_very_many_times(deliveries: Deliveries) -> None:
    deliveries.keep(CHG1, "a", "", NOW)
    now = NOW
    for _ in range(MOST_ATTEMPTS):
        taken = deliveries.due(now)[CHG1]
        deliveries.not_judged(taken, "no answer", now)
        now += LONGEST_WAIT
    assert deliveries.due(now) == {}
    assert [(one.fate, one.reason) for one in deliveries.all()] == [(Fate.GIVEN_UP, "no answer")]
    assert now - NOW > timedelta(hours=24), "a ticket system may be away for a day"
