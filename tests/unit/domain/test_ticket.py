"""What a change ticket allows (issue 5: 4, Bad input; R3; faults 50, 52): every rule refuses alone, with what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from upkeep.domain.finding import blockers
from upkeep.domain.inventory import Host
from upkeep.domain.ticket import (
    Hosts,
    Ticket,
    TicketRef,
    TicketRules,
    fleet_names,
    judge,
    judge_while_running,
    parse_ref,
    waits_until,
)
from upkeep.errors import BadInput

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
REF = TicketRef(source="snow", id="CHG1")
FLEET = {"h1": ("h1",), "h2": ("h2",), "h3": ("h3",), "twin": ("h1", "h2")}
GOOD = Ticket(
    ref=REF,
    state="-1",
    state_label="Implement",
    approved=True,
    approval="approved",
    planned_start=NOW - timedelta(hours=1),
    planned_end=NOW + timedelta(hours=1),
    cis=("h1", "h2"),
)
TEN = timedelta(minutes=10)


def against(
    ticket: Ticket, *, rules: TicketRules | None = None, part: bool = False, now: datetime = NOW
) -> dict[str, str]:
    hosts = Hosts(targets=("h1", "h2"), fleet=FLEET, part=part)
    found: dict[str, str] = {}
    for one in blockers(judge(ticket, rules or TicketRules(), hosts, now, TEN)):
        found[one.check] = f"{found.get(one.check, '')} {one.reason}"
    return found


def test_an_approved_ticket_in_its_time_about_exactly_the_plans_hosts_is_let_through() -> None:
    assert against(GOOD) == {}


REFUSED = [
    ("not approved", {"approved": False, "approval": "requested"}, "ticket.approved", "not approved"),
    ("approval unknown", {"approved": None, "approval": ""}, "ticket.approved", "does not say"),
    ("rejected", {"approved": False, "approval": "rejected"}, "ticket.approved", "not approved"),
    ("on hold", {"on_hold": True, "on_hold_reason": "vendor"}, "ticket.hold", "on hold: vendor"),
    ("on hold by state", {"state": "On Hold", "state_label": ""}, "ticket.hold", "on hold"),
    ("new", {"state": "-5", "state_label": "New"}, "ticket.state", "not being implemented: its state is New (-5)"),
    ("cancelled", {"state": "4", "state_label": "Canceled"}, "ticket.state", "cancelled"),
    ("closed", {"state": "3", "state_label": "Closed"}, "ticket.state", "closed"),
    ("unknown state", {"state": "77", "state_label": ""}, "ticket.state", "77"),
    ("no start", {"planned_start": None}, "ticket.planned", "missing"),
    ("no end", {"planned_end": None}, "ticket.planned", "missing"),
    ("no times", {"planned_start": None, "planned_end": None}, "ticket.planned", "missing"),
    ("end before start", {"planned_end": NOW - timedelta(hours=2)}, "ticket.planned", "not after"),
    ("too early", {"planned_start": NOW + timedelta(seconds=1)}, "ticket.begun", "planned start is"),
    ("over", {"planned_end": NOW}, "ticket.over", "planned end was"),
    (
        "too late for one host",
        {"planned_end": NOW + TEN - timedelta(seconds=1)},
        "ticket.over",
        "one host takes 10 min",
    ),
    ("no items", {"cis": ()}, "ticket.items", "no configuration item"),
    ("unknown item", {"cis": ("h1", "h2", "mail-01")}, "ticket.items", "no host of the inventory: mail-01"),
    ("ambiguous item", {"cis": ("h1", "twin")}, "ticket.items", "several hosts: twin"),
    ("other hosts", {"cis": ("h3",)}, "ticket.items", "that it does not name: h1, h2"),
    ("too few", {"cis": ("h1",)}, "ticket.items", "that it does not name: h2"),
    ("too many", {"cis": ("h1", "h2", "h3")}, "ticket.items", "that the plan does not change: h3"),
    ("items that differ in case", {"cis": ("H1", "h2")}, "ticket.items", "no host of the inventory: H1"),
]


@pytest.mark.parametrize(
    ("changes", "check", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_each_rule_refuses_with_its_reason_its_evidence_and_what_to_do(changes, check, reason) -> None:
    ticket = GOOD.model_copy(update=changes)
    found = against(ticket)
    assert reason in found[check]
    finding = next(
        one
        for one in blockers(judge(ticket, TicketRules(), Hosts(targets=("h1", "h2"), fleet=FLEET), NOW, TEN))
        if one.check == check
    )
    assert finding.evidence
    assert finding.remedy


def test_everything_that_is_wrong_is_said_at_once() -> None:
    bad = GOOD.model_copy(update={"approved": False, "state": "-5", "state_label": "New", "on_hold": True, "cis": ()})
    assert set(against(bad)) == {"ticket.approved", "ticket.state", "ticket.hold", "ticket.items"}


def test_states_are_the_sites_own() -> None:
    rules = TicketRules(implement=("Umsetzung",))
    assert against(GOOD.model_copy(update={"state": "umsetzung", "state_label": ""}), rules=rules) == {}
    assert "ticket.state" in against(GOOD, rules=rules)


def test_a_state_that_is_cancelled_for_the_site_is_never_implementable() -> None:
    assert "ticket.state" in against(GOOD, rules=TicketRules(cancelled=("-1",)))


def test_only_a_ticket_that_is_merely_early_waits() -> None:
    hosts, rules = Hosts(targets=("h1", "h2"), fleet=FLEET), TicketRules()
    early = GOOD.model_copy(update={"planned_start": NOW + timedelta(minutes=30)})
    assert waits_until(early, judge(early, rules, hosts, NOW, TEN), NOW) == early.planned_start
    unapproved = early.model_copy(update={"approved": False})
    assert waits_until(unapproved, judge(unapproved, rules, hosts, NOW, TEN), NOW) is None
    assert waits_until(GOOD, judge(GOOD, rules, hosts, NOW, TEN), NOW) is None


def test_a_run_that_began_is_not_kept_by_a_start_moved_later_but_by_all_else() -> None:
    hosts, rules = Hosts(targets=("h1", "h2"), fleet={}, whole=False), TicketRules()
    moved = GOOD.model_copy(update={"planned_start": NOW + timedelta(minutes=30)})
    assert blockers(judge_while_running(moved, rules, hosts, NOW, TEN)) == ()
    for changes in ({"state": "4"}, {"on_hold": True}, {"approved": False}, {"planned_end": NOW}, {"cis": ("h1",)}):
        changed = GOOD.model_copy(update=changes)
        assert blockers(judge_while_running(changed, rules, hosts, NOW, TEN)), changes


def test_a_retry_of_some_hosts_needs_them_to_be_among_the_tickets() -> None:
    assert against(GOOD.model_copy(update={"cis": ("h1", "h2", "h3")}), part=True) == {}
    assert "ticket.items" in against(GOOD.model_copy(update={"cis": ("h1",)}), part=True)


def test_an_item_may_be_named_by_a_label_of_its_host() -> None:
    hosts = [Host(name="h1", address="10.0.0.1", labels={"ci": "SRV-1"}), Host(name="h2", address="10.0.0.2")]
    names = fleet_names(hosts, "ci")
    assert names == {"h1": ("h1",), "SRV-1": ("h1",), "h2": ("h2",)}
    ticket = GOOD.model_copy(update={"cis": ("SRV-1", "h2")})
    found = judge(ticket, TicketRules(), Hosts(targets=("h1", "h2"), fleet=names), NOW, TEN)
    assert blockers(found) == ()


def test_a_ticket_is_found_by_its_number_or_by_source_and_number() -> None:
    sources = {"snow": "CHG[0-9]+", "jsm": "[A-Z]+-[0-9]+"}
    assert parse_ref("CHG1", sources) == REF
    assert str(parse_ref("jsm/OPS-7", sources)) == "jsm/OPS-7"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "snow/",
        "x/CHG1",
        "CHG1^ORstate=1",
        "INC1",
        "../etc/passwd",
        "snow/OPS-7",
        "CHG1\n",
        "a" * 65,
        "CHG 1",
        "é1",
    ],
)
def test_what_is_no_tickets_number_reaches_no_ticket_system(text) -> None:
    with pytest.raises(BadInput):
        parse_ref(text.replace("\n", "\nX"), {"snow": "CHG[0-9]+", "jsm": "[A-Z]+-[0-9]+"})


def test_a_number_that_two_sources_could_have_must_name_its_source() -> None:
    with pytest.raises(BadInput, match="name the source"):
        parse_ref("T1", {"a": "", "b": ""})
    assert parse_ref("b/T1", {"a": "", "b": ""}).source == "b"
