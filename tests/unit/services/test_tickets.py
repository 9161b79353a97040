"""Ticket systems over HTTP, each against a desk that plays its product (issue 5: 4; R3; fault 51)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.ticketing import CLOSED, KINDS, MOVES, PASSWORD
from upkeep.domain.ticket_source import Fields
from upkeep.errors import ServiceBusy, ServiceError, ServiceRefused
from upkeep.lab.tickets.desk import IMPLEMENT
from upkeep.lab.tickets.server import Desk
from upkeep.services.control_centre import Retries
from upkeep.services.tickets.base import TicketSystem
from upkeep.services.tickets.generic import Generic
from upkeep.services.tickets.http import Credentials, JsonApi
from upkeep.services.tickets.jira import Jira
from upkeep.services.tickets.servicenow import ServiceNow
from upkeep.services.web import Limits

START, END = datetime(2026, 11, 21, 22, 0, tzinfo=UTC), datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
HOSTS = [f"h{n}" for n in range(23)]


@pytest.fixture(params=KINDS)
def desk(request, tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path, request.param, password=PASSWORD).open() as opened:
        yield opened


def system(desk: Desk, password: str = PASSWORD, pauses: list[float] | None = None, attempts: int = 4) -> TicketSystem:
    slept = pauses if pauses is not None else []
    api = JsonApi(
        desk.url, Credentials(desk.user, SecretStr(password)), retries=Retries(attempts=attempts, sleep=slept.append)
    )
    made = {
        "servicenow": lambda: ServiceNow("s", api, Fields()),
        "jira": lambda: Jira("s", api, Fields()),
        "generic": lambda: Generic("s", api),
    }
    return made[desk.kind]()


def good(desk: Desk):
    return desk.store.add(
        title="agent to 1.5.0",
        state=IMPLEMENT[desk.kind],
        approval="approved",
        planned_start=START,
        planned_end=END,
        items=HOSTS,
        plan="agent",
    )


def test_a_ticket_is_read_with_its_times_in_utc_and_its_items_from_every_page(desk: Desk) -> None:
    made = good(desk)
    ticket = system(desk).ticket(made.id)
    assert ticket is not None
    assert (ticket.planned_start, ticket.planned_end) == (START, END)
    assert list(ticket.cis) == HOSTS
    assert (ticket.approved, ticket.on_hold, ticket.plan, ticket.title) == (True, False, "agent", "agent to 1.5.0")
    assert ticket.state == IMPLEMENT[desk.kind]
    assert ticket.requester == "Mia Change"


def test_a_ticket_that_does_not_exist_is_none_and_no_error(desk: Desk) -> None:
    assert system(desk).ticket({"jira": "CHANGE-404"}.get(desk.kind, "CHG00404")) is None


def test_what_is_not_approved_is_not_read_as_approved(desk: Desk) -> None:
    for said in ("requested", "rejected", "not requested", ""):
        made = desk.store.add(state=IMPLEMENT[desk.kind], approval=said)
        ticket = system(desk).ticket(made.id)
        assert ticket is not None
        assert not ticket.approved, said


def test_a_note_is_found_again_by_its_mark_behind_many_newer_ones(desk: Desk) -> None:
    made, asked = good(desk), system(desk)
    assert not asked.has_note(made.id, "[upkeep 1]")
    asked.add_note(made.id, "progress [upkeep 1]")
    for number in range(12):
        desk.store.note(made.id, f"chatter {number}")
    assert asked.has_note(made.id, "[upkeep 1]")
    assert not asked.has_note(made.id, "[upkeep 2]")
    assert [note for note in desk.store.get(made.id).notes if "progress" in note] == ["progress [upkeep 1]"]  # type: ignore[union-attr]


def test_a_ticket_is_closed_once_also_when_it_is_asked_twice(desk: Desk) -> None:
    made, asked = good(desk), system(desk)
    heard: list[str] = []
    desk.store.changed.append(lambda ticket: heard.append(ticket.state))
    for _ in range(2):
        asked.move(made.id, {"jira": "Completed"}.get(desk.kind, MOVES[desk.kind]), "all well")
    assert desk.store.get(made.id).state == CLOSED[desk.kind]  # type: ignore[union-attr]
    assert heard[-1] == CLOSED[desk.kind]
    assert heard.count(CLOSED[desk.kind]) == 1


@pytest.mark.parametrize("trouble", ["500", "html", "429"])
def test_a_system_that_is_out_of_order_for_a_moment_is_asked_again(desk: Desk, trouble: str) -> None:
    made, pauses = good(desk), []
    desk.temper.trouble, desk.temper.times = trouble, 2
    assert system(desk, pauses=pauses).ticket(made.id) is not None
    assert len(pauses) == 2
    if trouble == "429":
        assert min(pauses) >= 1, "Retry-After was 1"


@pytest.mark.parametrize(
    ("trouble", "kind", "said"),
    [("500", ServiceError, "500"), ("html", ServiceError, "login page"), ("429", ServiceBusy, "429")],
)
def test_a_system_that_stays_out_of_order_is_an_error_that_says_how(desk: Desk, trouble, kind, said) -> None:
    made = good(desk)
    desk.temper.trouble, desk.temper.times = trouble, 99
    with pytest.raises(kind, match=said):
        system(desk, attempts=2).ticket(made.id)


def test_a_rate_limit_is_waited_for(desk: Desk) -> None:
    import time

    made = good(desk)
    desk.temper.per_second = 3
    api = JsonApi(desk.url, Credentials(desk.user, SecretStr(PASSWORD)), retries=Retries(attempts=9, sleep=time.sleep))
    asked = {
        "servicenow": ServiceNow("s", api, Fields()),
        "jira": Jira("s", api, Fields()),
        "generic": Generic("s", api),
    }[desk.kind]
    assert all(asked.ticket(made.id) for _ in range(3))


def test_a_wrong_password_is_named_and_never_shown(desk: Desk) -> None:
    made = good(desk)
    with pytest.raises(ServiceError, match="does not let us in") as error:
        system(desk, "wrong-password", attempts=1).ticket(made.id)
    assert "wrong-password" not in repr(error.value)


def test_a_note_is_sent_once_and_never_by_itself_again(desk: Desk) -> None:
    made, asked = good(desk), system(desk)
    desk.temper.trouble, desk.temper.times = "500", 9
    with pytest.raises(ServiceError):
        asked.add_note(made.id, "hello")
    assert desk.store.get(made.id).notes == []  # type: ignore[union-attr]
    desk.temper.times = 0
    asked.add_note(made.id, "hello")
    assert desk.store.get(made.id).notes == ["hello"]  # type: ignore[union-attr]


def test_a_move_that_the_process_does_not_allow_is_final(desk: Desk) -> None:
    if desk.kind == "generic":
        return
    made = desk.store.add(state={"servicenow": "-5", "jira": "Open"}[desk.kind])
    with pytest.raises((ServiceRefused, ServiceError)) as error:
        system(desk, attempts=1).move(made.id, MOVES[desk.kind], "x")
    assert "403" in str(error.value) or "no transition" in str(error.value) or "let us in" in str(error.value)


def test_an_answer_without_end_or_larger_than_agreed_is_cut_off(site) -> None:
    site.serve("/tickets/T1", b"[" * 6_000_000)
    api = JsonApi(site.url, Credentials(), retries=Retries(attempts=1))
    with pytest.raises(ServiceError, match="larger"):
        Generic("s", api).ticket("T1")
    from datetime import timedelta

    site.drip("/tickets/T2", stated_length=1_000_000)
    api = JsonApi(site.url, Credentials(), retries=Retries(attempts=1), limits=Limits(total=timedelta(seconds=0.5)))
    with pytest.raises(ServiceError, match="no complete answer"):
        Generic("s", api).ticket("T2")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"null", "not as agreed"),
        (b'{"id": "T2", "state": "x"}', "asked for ticket T1 and got T2"),
        (b'{"id": "T1", "state": "x", "planned_start": "tomorrow"}', "planned_start"),
        (b'{"id": "T1", "state": "x", "planned_start": "2026-01-01T00:00:00"}', "planned_start"),
    ],
)
def test_an_answer_that_is_not_as_agreed_is_never_taken_for_a_ticket(site, body, said) -> None:
    site.serve("/tickets/T1", body)
    with pytest.raises(ServiceError, match=said):
        Generic("s", JsonApi(site.url, Credentials(), retries=Retries(attempts=1))).ticket("T1")


def test_a_redirect_to_a_login_page_is_not_followed(site) -> None:
    site.redirect("/tickets/T1", "/login")
    with pytest.raises(ServiceError, match="redirected us"):
        Generic("s", JsonApi(site.url, Credentials(), retries=Retries(attempts=1))).ticket("T1")
    assert [path for path, _ in site.asked] == ["/tickets/T1"]
