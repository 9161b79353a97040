"""From a delivery to at most one run (issue 5: 4, Bad input; R3; faults 50, 51, 52)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.attend_tickets import attend_once
from tasks.judge_deliveries import judge_deliveries
from tasks.keep_ticket import TicketKeeper, refuse_without_ticket
from tasks.prepare_run import prepare
from tasks.send_outbox import send_outbox
from tasks.tell_tickets import tell_tickets
from tests.ticketing import KINDS, Office, laid_out, office
from tests.unit.services.site import running
from upkeep.audit.deliveries import LONGEST_WAIT, Fate
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.record import RunRequest
from upkeep.domain.ticket import TicketRef
from upkeep.errors import BadInput, Refused, ServiceError
from upkeep.lab.layout import LabPaths
from upkeep.lab.tickets.desk import CANCELLED, READY
from upkeep.services.prefect_api import PrefectApi
from upkeep.services.tickets.http import Credentials, JsonApi
from upkeep.wiring import Site

HOSTS = ["h1", "h2", "h3", "h4"]


class Started:
    """A Prefect server that only counts: one flow run per key, as the real one."""

    def __init__(self) -> None:
        self.runs: dict[str, Mapping[str, Any]] = {}
        self.asked = 0
        self.trouble: Callable[[], None] = lambda: None

    def __call__(self, _deployment: str, parameters: Mapping[str, Any], key: str) -> str:
        self.asked += 1
        self.runs.setdefault(key, parameters)
        self.trouble()
        return f"flow-{list(self.runs).index(key)}"


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> LabPaths:
    return laid_out(tmp_path_factory.mktemp("documents") / "lab")


@pytest.fixture(params=["servicenow"])
def desk_office(request, tmp_path: Path, fleet: LabPaths) -> Iterator[Office]:
    folder = fleet.directory
    with office(tmp_path, request.param, folder / "plan.yaml", folder / "inventory.yaml") as opened:
        yield opened


@pytest.fixture
def site(desk_office: Office) -> Iterator[Site]:
    made = desk_office.site()
    yield made
    made.history.close()


@pytest.fixture
def started() -> Started:
    return Started()


def deliver(site: Site, office: Office, number: str, delivery: str = "d1") -> None:
    site.deliveries.keep(TicketRef(source=office.desk.kind, id=number), delivery, "", datetime.now(UTC))


def fate(site: Site) -> tuple[Fate, str]:
    newest = site.deliveries.all()[0]
    return newest.fate, newest.reason


def notes(office: Office, number: str) -> list[str]:
    ticket = office.desk.store.get(number)
    assert ticket is not None
    return ticket.notes


@pytest.mark.parametrize("desk_office", KINDS, indirect=True)
def test_a_good_ticket_starts_its_plan_once_with_its_files_and_its_requester(site, desk_office, started) -> None:
    ticket = desk_office.ticket(HOSTS)
    deliver(site, desk_office, ticket.id)
    judge_deliveries(site, started)
    assert fate(site)[0] is Fate.STARTED, fate(site)
    ((key, parameters),) = started.runs.items()
    request = RunRequest.model_validate(parameters["request"])
    assert key.startswith(f"{desk_office.desk.kind}/{ticket.id}:")
    assert (request.source, request.requested_by, request.ticket) == (
        "webhook",
        "Mia Change",
        f"{desk_office.desk.kind}/{ticket.id}",
    )
    assert request.plan.endswith("plan.yaml")
    (told,) = [event for event in site.history.events("") if event.action == "ticket.started"]
    assert (told.actor.name, told.body["deliveries"], told.reason) == (
        request.ticket,
        ["d1"],
        "started as flow run flow-0",
    )
    assert prepare(site, "maintenance", request, with_archives=False).record.actor.kind == "ticket"


def test_many_deliveries_of_one_ticket_start_it_once(site, desk_office, started) -> None:
    ticket = desk_office.ticket(HOSTS)
    for round_ in range(3):
        for number in range(4):
            deliver(site, desk_office, ticket.id, f"{round_}-{number}")
        judge_deliveries(site, started)
    assert started.asked == 1
    assert {one.fate for one in site.deliveries.all()} == {Fate.STARTED, Fate.KEPT}


def test_a_judge_that_dies_right_after_starting_does_not_start_it_again(site, desk_office, started) -> None:
    ticket = desk_office.ticket(HOSTS)
    deliver(site, desk_office, ticket.id)

    def die() -> None:
        raise KeyboardInterrupt

    started.trouble = die
    with pytest.raises(KeyboardInterrupt):
        judge_deliveries(site, started)
    started.trouble = lambda: None
    again = desk_office.site()
    judge_deliveries(again, started, datetime.now(UTC) + timedelta(minutes=6))
    again.history.close()
    assert (started.asked, len(started.runs)) == (2, 1), "asked twice with one key"
    assert fate(site)[0] is Fate.STARTED


def test_a_prefect_server_that_is_away_loses_nothing(site, desk_office, started) -> None:
    ticket = desk_office.ticket(HOSTS)
    deliver(site, desk_office, ticket.id)

    def away() -> None:
        raise ServiceError("no answer")

    started.trouble = away
    judge_deliveries(site, started)
    assert fate(site) == (Fate.NEW, "no answer")
    started.trouble = lambda: None
    judge_deliveries(site, started, datetime.now(UTC) + timedelta(minutes=1))
    assert fate(site)[0] is Fate.STARTED


def test_a_prefect_server_that_does_not_know_the_runbook_yet_refuses_no_ticket(site, desk_office, started) -> None:
    ticket = desk_office.ticket(HOSTS)
    deliver(site, desk_office, ticket.id)
    with running() as beginning:
        attend_once(site, PrefectApi(JsonApi(beginning.url, Credentials())).start)
    assert fate(site)[0] is Fate.NEW
    assert "has no deployment maintenance/manual" in fate(site)[1]
    assert notes(desk_office, ticket.id) == []
    judge_deliveries(site, started, datetime.now(UTC) + timedelta(minutes=1))
    assert fate(site)[0] is Fate.STARTED


NOW = datetime.now(UTC)
REFUSALS = {
    "not approved": ({"approval": "requested"}, "it is not approved"),
    "rejected": ({"approval": "rejected"}, "it is not approved"),
    "on hold": ({"on_hold": True, "on_hold_reason": "vendor"}, "on hold: vendor"),
    "scheduled, not begun": ({"state": "-2"}, "its state is Scheduled (-2)"),
    "new": ({"state": "-5"}, "its state is New"),
    "cancelled": ({"state": "4"}, "it is cancelled"),
    "closed meanwhile": ({"state": "3"}, "it is closed"),
    "a state of another model": ({"state": "42"}, "42"),
    "no planned times": ({"planned_start": None, "planned_end": None}, "missing"),
    "planned time over": ({"planned_end": NOW - timedelta(minutes=1)}, "its planned end was"),
    "too late for one host": ({"planned_end": timedelta(seconds=90)}, "one host takes"),
    "end before start": ({"planned_end": NOW - timedelta(days=9)}, "not after its planned start"),
    "no items": ({"items": []}, "no configuration item"),
    "an unknown item": ({"items": [*HOSTS, "mail-01"]}, "no host of the inventory: mail-01"),
    "other hosts": ({"items": ["h1", "h2"]}, "the plan changes hosts that it does not name: h3, h4"),
    "an item in other letters": ({"items": ["H1", "h2", "h3", "h4"]}, "no host of the inventory: H1"),
    "a plan nobody allowed": ({"plan": "/etc/passwd"}, "which is not one of its source's"),
    "a plan of another name": ({"plan": "database"}, "which is not one of its source's"),
}


@pytest.mark.parametrize(("facts", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_may_not_run_is_refused_and_its_ticket_told_why_once(site, desk_office, started, facts, reason) -> None:
    now = datetime.now(UTC)
    facts = {name: now + fact if isinstance(fact, timedelta) else fact for name, fact in facts.items()}
    ticket = desk_office.ticket(HOSTS, **facts)
    for delivery in "ab":
        deliver(site, desk_office, ticket.id, delivery)
        attend_once(site, started)
    assert started.asked == 0
    assert fate(site)[0] is Fate.REFUSED
    assert reason in fate(site)[1]
    (note,) = notes(desk_office, ticket.id)
    assert "did not start" in note
    assert reason in note
    told = [event for event in site.history.events("") if event.action == "ticket.refused"]
    assert [(event.actor.name, reason in event.reason) for event in told] == [(f"servicenow/{ticket.id}", True)] * 2


def test_an_unknown_ticket_is_refused(site, desk_office, started) -> None:
    deliver(site, desk_office, "CHG99999")
    judge_deliveries(site, started)
    assert fate(site) == (Fate.REFUSED, "there is no ticket servicenow/CHG99999")


def test_a_plan_that_cannot_be_read_is_refused_with_its_line(site, desk_office, started, tmp_path) -> None:
    file = desk_office.home / "tickets.yaml"
    document = yaml.safe_load(file.read_text())
    (tmp_path / "bad.yaml").write_text("name: p\nprofil: x\n")
    document["sources"]["servicenow"]["changes"]["agent"]["plan"] = str(tmp_path / "bad.yaml")
    file.write_text(yaml.safe_dump(document))
    ticket = desk_office.ticket(HOSTS)
    deliver(site, desk_office, ticket.id)
    judge_deliveries(site, started)
    assert fate(site)[0] is Fate.REFUSED
    assert "bad.yaml:2" in fate(site)[1]


@pytest.mark.parametrize("trouble", ["429", "500", "html"])
def test_a_ticket_system_out_of_order_means_later_and_never_go(
    site, desk_office, started, trouble, monkeypatch
) -> None:
    monkeypatch.setattr("upkeep.services.control_centre.Retries.pauses", lambda _self: iter(()))
    ticket = desk_office.ticket(HOSTS)
    deliver(site, desk_office, ticket.id)
    desk_office.desk.temper.trouble, desk_office.desk.temper.times = trouble, 1
    judge_deliveries(site, started)
    assert fate(site)[0] is Fate.NEW
    assert started.asked == 0
    (told,) = [event for event in site.history.events("") if event.action == "ticket.not_judged"]
    assert told.reason.endswith("it is asked again")
    judge_deliveries(site, started, datetime.now(UTC) + timedelta(minutes=1))
    assert fate(site)[0] is Fate.STARTED


def test_a_ticket_that_could_not_be_judged_for_a_day_is_given_up_and_told_so(
    site, desk_office, started, monkeypatch
) -> None:
    for module in ("tasks.judge_deliveries", "upkeep.audit.deliveries"):
        monkeypatch.setattr(f"{module}.MOST_ATTEMPTS", 3)
    ticket = desk_office.ticket(HOSTS)
    deliver(site, desk_office, ticket.id)

    def away() -> None:
        raise ServiceError("no answer")

    started.trouble, now = away, datetime.now(UTC)
    for _ in range(3):
        judge_deliveries(site, started, now)
        now += LONGEST_WAIT
    assert fate(site)[0] is Fate.GIVEN_UP
    told = [event.action for event in site.history.events("") if event.action.startswith("ticket.")]
    assert told == ["ticket.not_judged", "ticket.given_up"], "not one event for each time it was asked"
    send_outbox(site, now)
    (note,) = notes(desk_office, ticket.id)
    assert "could not be judged for about a day: no answer" in note


def test_an_early_ticket_waits_says_so_once_and_is_asked_again_at_its_start(site, desk_office, started) -> None:
    start = datetime.now(UTC) + timedelta(hours=1)
    ticket = desk_office.ticket(HOSTS, planned_start=start)
    deliver(site, desk_office, ticket.id)
    attend_once(site, started)
    attend_once(site, started)
    assert fate(site)[0] is Fate.WAITING
    assert [note.splitlines()[0] for note in notes(desk_office, ticket.id)] == [
        f"Upkeep will look at this change again at its planned start, {start:%Y-%m-%d %H:%M:%S} UTC."
    ]
    judge_deliveries(site, started, start + timedelta(seconds=1))
    assert fate(site)[0] is Fate.STARTED
    told = [event.action for event in site.history.events("") if event.action.startswith("ticket.")]
    assert told == ["ticket.waiting", "ticket.started"]


def test_an_early_ticket_that_is_cancelled_meanwhile_never_starts(site, desk_office, started) -> None:
    start = datetime.now(UTC) + timedelta(hours=1)
    ticket = desk_office.ticket(HOSTS, planned_start=start)
    deliver(site, desk_office, ticket.id)
    judge_deliveries(site, started)
    desk_office.desk.store.change(ticket.id, state=CANCELLED["servicenow"])
    judge_deliveries(site, started, start + timedelta(seconds=1))
    assert fate(site)[0] is Fate.REFUSED
    assert started.asked == 0


def test_deliveries_that_overtake_each_other_lead_to_what_the_ticket_says_now(site, desk_office, started) -> None:
    ticket = desk_office.ticket(HOSTS, state=READY["servicenow"])
    deliver(site, desk_office, ticket.id, "implement, sent last and come first")
    desk_office.desk.store.change(ticket.id, state="-1")
    judge_deliveries(site, started)
    deliver(site, desk_office, ticket.id, "scheduled, sent first and come last")
    judge_deliveries(site, started)
    assert started.asked == 1


def opened(site: Site, office: Office, ticket_id: str) -> Any:
    request = RunRequest(
        inventory=str(
            yaml.safe_load((office.home / "tickets.yaml").read_text())["sources"]["servicenow"]["changes"]["agent"][
                "inventory"
            ]
        ),
        plan=str(
            yaml.safe_load((office.home / "tickets.yaml").read_text())["sources"]["servicenow"]["changes"]["agent"][
                "plan"
            ]
        ),
        ticket=ticket_id,
        source="cli",
    )
    return request, prepare(site, "maintenance", request, with_archives=False).record


def test_a_run_by_hand_obeys_the_same_rules(site, desk_office, monkeypatch) -> None:
    ticket = desk_office.ticket(HOSTS)
    request, record = opened(site, desk_office, ticket.id)
    assert record.ticket == f"servicenow/{ticket.id}"
    refuse_without_ticket(site, record, request)
    desk_office.desk.store.change(ticket.id, approval="rejected", items=["h1"])
    with pytest.raises(Refused) as error:
        refuse_without_ticket(site, record, request)
    assert error.value.exit_code == 4
    assert "not approved" in str(error.value)
    assert "h2, h3, h4" in str(error.value)
    with monkeypatch.context() as patch:
        patch.setattr("upkeep.services.control_centre.Retries.pauses", lambda _self: iter(()))
        desk_office.desk.temper.trouble, desk_office.desk.temper.times = "html", 1
        with pytest.raises(Refused, match="could not be asked, and unknown is never good enough"):
            refuse_without_ticket(site, record, request)
    with pytest.raises(Refused, match="there is no ticket servicenow/CHG99"):
        refuse_without_ticket(site, record.model_copy(update={"ticket": "CHG99"}), request)


def test_a_ticket_and_plan_that_ran_already_are_not_run_again_by_hand_or_by_webhook(site, desk_office, started) -> None:
    ticket = desk_office.ticket(HOSTS)
    request, record = opened(site, desk_office, ticket.id)
    site.history.open_run(record)
    site.history.close_run(record.id, RunOutcome.SUCCEEDED, "all well")
    with pytest.raises(Refused, match=f"run already: {record.id}"):
        refuse_without_ticket(site, record.model_copy(update={"id": "another"}), request)
    deliver(site, desk_office, ticket.id)
    judge_deliveries(site, started)
    assert fate(site)[0] is Fate.KEPT
    assert started.asked == 0


def test_before_a_new_stage_the_ticket_is_asked_again_and_unknown_is_no(site, desk_office, monkeypatch) -> None:
    monkeypatch.setattr("upkeep.services.control_centre.Retries.pauses", lambda _self: iter(()))
    ticket = desk_office.ticket(HOSTS)
    _, record = opened(site, desk_office, ticket.id)
    keeper, now = TicketKeeper(site.history, record, lambda: site.tickets), datetime.now(UTC)
    assert keeper.may_start(now, "canary") == ""
    desk_office.desk.store.change(ticket.id, state=CANCELLED["servicenow"])
    assert keeper.may_start(now, "canary") == "", "within one stage its word holds for half a minute"
    assert "it is cancelled" in keeper.may_start(now, "50 %")
    desk_office.desk.store.change(ticket.id, state="-1")
    desk_office.desk.temper.trouble, desk_office.desk.temper.times = "html", 1
    assert "unknown is never good enough" in keeper.may_start(now, "100 %")
    assert keeper.may_start(now + timedelta(seconds=31), "100 %") == ""
    assert "planned end" in keeper.may_start(now + timedelta(hours=3), "100 %")


def test_a_delivery_that_cancels_stops_the_run_that_is_under_way_at_once(site, desk_office, started) -> None:
    ticket = desk_office.ticket(HOSTS)
    _, record = opened(site, desk_office, ticket.id)
    site.history.open_run(record)
    deliver(site, desk_office, ticket.id, "something else")
    judge_deliveries(site, started)
    assert site.history.stop_requested(record.id) is None
    desk_office.desk.store.change(ticket.id, state=CANCELLED["servicenow"])
    deliver(site, desk_office, ticket.id, "cancelled")
    judge_deliveries(site, started)
    assert "it is cancelled" in (site.history.stop_requested(record.id) or "")
    assert started.asked == 0


def finished(site: Site, office: Office, number: str) -> str:
    _, record = opened(site, office, number)
    site.history.open_run(record)
    site.history.stage_opened(record.id, "canary", ["h1"])
    site.history.stage_closed(record.id, "canary", "go", "1 host is well")
    site.history.host_result(
        record.id, "h1", HostResult(outcome=HostOutcome.COMMITTED, from_version="1.4.2", to_version="1.5.0")
    )
    site.history.close_run(record.id, RunOutcome.SUCCEEDED, "1 host changed")
    return str(record.id)


def test_the_ticket_is_told_of_start_stages_end_and_evidence_and_is_closed(site, desk_office) -> None:
    ticket = desk_office.ticket(HOSTS)
    run = finished(site, desk_office, ticket.id)
    tell_tickets(site)
    assert send_outbox(site) == 4
    began, stage, over = notes(desk_office, ticket.id)
    assert f"run {run} has begun" in began
    assert "stage canary with 1 host is over, go" in stage
    assert "succeeded" in over
    assert "1 committed" in over
    assert f"upkeep history export {run}" in over
    closed = desk_office.desk.store.get(ticket.id)
    assert (closed.state, closed.close_code) == ("3", "successful")  # type: ignore[union-attr]


def test_notes_survive_the_death_of_their_sender_and_are_not_posted_twice(site, desk_office, monkeypatch) -> None:
    ticket = desk_office.ticket(HOSTS)
    finished(site, desk_office, ticket.id)
    tell_tickets(site)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    later = datetime.now(UTC)
    for _ in range(4):
        with monkeypatch.context() as patch:
            patch.setattr("upkeep.audit.outbox.Outbox.sent", die)
            with pytest.raises(KeyboardInterrupt):
                send_outbox(site, later)
        later += timedelta(minutes=3)
        again = desk_office.site()
        tell_tickets(again)
        one = again.outbox.due(later, limit=1)[0]
        again.outbox.release(one.id)
        with monkeypatch.context() as patch:
            patch.setattr("tasks.send_outbox.log.warning", die)
            send_outbox(again, later)
        again.history.close()
        later += timedelta(minutes=3)
        if not site.outbox.all(unsent=True):
            break
    assert len(notes(desk_office, ticket.id)) == 3
    assert not site.outbox.all(unsent=True)


def test_notes_wait_for_a_ticket_system_that_is_away_and_keep_their_order(site, desk_office, monkeypatch) -> None:
    monkeypatch.setattr("upkeep.services.control_centre.Retries.pauses", lambda _self: iter(()))
    ticket = desk_office.ticket(HOSTS)
    finished(site, desk_office, ticket.id)
    tell_tickets(site)
    desk_office.desk.temper.trouble, desk_office.desk.temper.times = "html", 1
    assert send_outbox(site) == 0
    assert send_outbox(site, datetime.now(UTC) + timedelta(minutes=1)) == 4
    assert ["has begun" in note for note in notes(desk_office, ticket.id)] == [True, False, False]


def test_a_ticket_whose_run_is_over_hears_no_refusals_of_its_later_states(site, desk_office, started) -> None:
    ticket = desk_office.ticket(HOSTS)
    finished(site, desk_office, ticket.id)
    attend_once(site, started)
    before = notes(desk_office, ticket.id)
    deliver(site, desk_office, ticket.id, "closed")
    attend_once(site, started)
    assert notes(desk_office, ticket.id) == before
    assert started.asked == 0


def test_without_ticket_systems_a_ticket_is_a_label(tmp_path, fleet) -> None:
    from upkeep.settings import Settings

    environ = {"UPKEEP_HOME": str(tmp_path), "UPKEEP_SSH_CONFIG": "/dev/null"}
    site = Site(Settings.from_environment(environ), environ)
    request = RunRequest(
        plan=str(fleet.directory / "plan.yaml"),
        inventory=str(fleet.directory / "inventory.yaml"),
        ticket="CHG42",
        source="cli",
    )
    record = prepare(site, "maintenance", request, with_archives=False).record
    refuse_without_ticket(site, record, request)
    assert record.ticket == "CHG42"
    assert TicketKeeper(site.history, record, lambda: site.tickets).may_start(datetime.now(UTC), "canary") == ""


def test_a_number_that_is_no_ticket_is_bad_input(site, desk_office) -> None:
    with pytest.raises(BadInput, match="not a ticket's number"):
        opened(site, desk_office, "CHG1 OR 1=1")
