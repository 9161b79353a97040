"""Who must approve what, whose yes counts and how long (issue 5: 5; R4; U7; faults 44, 53)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from upkeep.domain.approval import standings, waited_for
from upkeep.domain.approval_rule import OVERRIDE, ApprovalRule, is_stage, rules_for
from upkeep.domain.drift import difference
from upkeep.domain.person import Person
from upkeep.domain.plan import Plan
from upkeep.domain.record import Actor, Event, Happening

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
PLAN = {"name": "night", "profile": "x", "release": "r"}


def person(name: str, *roles: str, logins: tuple[str, ...] = ()) -> Person:
    return Person.model_validate({"name": name, "roles": roles, "logins": logins, "added_at": NOON})


def event(
    action: str, at: datetime = NOON, *, stage: str = "25 %", who: str = "ann", reason: str = "", **body: object
) -> Event:
    return Event(
        seq=1,
        at=at,
        run="r1",
        actor=Actor(name=who),
        action=action,
        happening=Happening.NOTE,
        stage=stage,
        reason=reason,
        body=body,
    )


def request(*rules: dict, at: datetime = NOON, stage: str = "25 %", requesters: tuple[str, ...] = ("ann",)) -> Event:
    lapses = (at + WEEK).isoformat()
    return event(
        "approval.requested",
        at,
        stage=stage,
        rules=list(rules) or [{}],
        plan_hash="h",
        requesters=requesters,
        lapses_at=lapses,
    )


def given(name: str, *rules: int, until: datetime = NOON + WEEK) -> Event:
    return event("approval.given", who=name, person=name, rules=list(rules or (0,)), valid_until=until.isoformat())


def test_a_stage_starts_when_as_many_different_people_as_needed_approved_it() -> None:
    events = [request({"needed": 2}), given("bob")]
    standing = waited_for(events)
    assert not standing.met(NOON)
    assert standing.told(NOON) == "2 people (approver); 1 given by bob"
    assert not waited_for([*events, given("bob")]).met(NOON), (
        "one person counts once, however often their yes is written down"
    )
    assert waited_for([*events, given("cat")]).met(NOON)


def test_one_tech_lead_and_one_sre_are_two_people_even_if_one_of_them_is_both() -> None:
    rules = ({"roles": ["tech lead"]}, {"roles": "sre"})
    both = given("bob", 0, 1)
    assert not waited_for([request(*rules), both]).met(NOON)
    assert waited_for([request(*rules), both, given("cat", 0)]).met(NOON), "bob then sits for the sre"
    assert waited_for([request(*rules), both, given("cat", 1)]).met(NOON), "bob then sits for the tech lead"
    assert not waited_for([request(*rules), given("bob", 0), given("cat", 0)]).met(NOON)


def test_whoever_asked_cannot_approve_under_any_of_their_names() -> None:
    standing = waited_for([request(requesters=("Ann", "deploy-bot"))])
    assert "does not approve it" in standing.objection_to_yes(person("ann", "approver"), NOON)
    assert "does not approve it" in standing.objection_to_yes(person("anna", "approver", logins=("ANN",)), NOON)
    assert "does not approve it" in standing.objection_to_yes(person("x", "approver", logins=("deploy-bot",)), NOON)
    assert standing.objection_to_yes(person("bob", "approver"), NOON) == ""


def test_a_wrong_role_a_second_time_and_too_late_are_each_refused_with_their_reason() -> None:
    standing = waited_for([request({"roles": ["sre", "on-call"], "people": ["dan"]}), given("cat")])
    assert (
        standing.objection(person("bob", "approver"), NOON)
        == "bob is approver; this needs 1 person (sre or on-call or dan)"
    )
    assert standing.objection(person("dan", "viewer"), NOON) == ""
    assert "approved this already" in standing.objection_to_yes(person("cat", "sre"), NOON)
    assert "lapsed on 2026-11-28 12:00 UTC" in standing.objection(person("bob", "sre"), NOON + WEEK)
    assert standing.objection(person("bob", "sre"), NOON + WEEK - timedelta(seconds=1)) == ""


def test_a_yes_counts_until_it_lapses_and_not_a_moment_longer() -> None:
    hour = timedelta(hours=1)
    standing = waited_for([request({"needed": 2}), given("bob"), given("cat", until=NOON + hour)])
    assert standing.good_until(NOON) == NOON + hour
    assert standing.met(NOON + hour - timedelta(microseconds=1))
    assert not standing.met(NOON + hour)
    assert standing.objection_to_yes(person("cat", "approver"), NOON + hour) == "", "cat may say it again"


def test_a_change_after_the_yes_voids_it_and_it_can_be_given_anew() -> None:
    events = [request(), given("bob"), event("approval.voided", reason="plan.soak.canary: 600 → 1")]
    standing = waited_for(events)
    assert (standing.met(NOON), standing.voided) == (False, "plan.soak.canary: 600 → 1")
    assert waited_for([*events, given("bob")]).met(NOON)


def test_a_run_waits_from_its_request_until_it_goes_on_or_ends_and_a_yes_outlives_an_interruption() -> None:
    asked = [request({"needed": 2}), given("bob")]
    assert waited_for([*asked, event("run.resumed")]) is None
    assert waited_for([*asked, event("run.closed")]) is None
    again = waited_for([*asked, event("run.resumed"), request({"needed": 2})])
    assert [approval.person for approval in again.approvals] == ["bob"]
    other = [*asked, event("run.resumed"), request(stage="100%")]
    assert (waited_for(other).subject, waited_for(other).approvals) == ("100%", ()), "a yes is for one stage"
    assert standings(other)["25 %"].approvals[0].person == "bob"


def test_rules_are_for_every_stage_for_later_ones_or_for_one_by_its_title() -> None:
    rules = [ApprovalRule(), ApprovalRule(stage="later", needed=2), ApprovalRule(stage="25%", needed=3)]
    assert [rule.needed for rule in rules_for(rules, "canary", first=True)] == [1]
    assert [rule.needed for rule in rules_for(rules, "25 %", first=False)] == [1, 2, 3]
    assert [rule.needed for rule in rules_for(rules, "100 %", first=False)] == [1, 2]
    assert [rule.needed for rule in rules_for([], OVERRIDE, first=True)] == [1]
    assert is_stage("b", "b (2)")
    assert not is_stage("b", "b (old)")


@pytest.mark.parametrize(
    ("approvals", "said"),
    [
        ({"stage": "26%"}, "there is no stage '26%'; allowed: every, later, canary, 25 %, 100 %"),
        ({"needed": 0}, "greater than or equal to 1"),
        ({"roles": ["boss"]}, "'on-call', 'tech lead' or 'sre'"),
        ({"people": ["bob", "bob"], "needed": 2}, "could never be met"),
        ({"expires": "1s"}, "at least 1 min"),
        ({"role": "sre"}, "Extra inputs"),
    ],
)
def test_a_rule_that_could_never_work_is_refused_with_the_plan(approvals, said) -> None:
    with pytest.raises(ValidationError, match=said):
        Plan.model_validate({**PLAN, "approvals": approvals})


def test_one_rule_may_stand_alone_and_roles_may_be_spelled_with_a_dash() -> None:
    plan = Plan.model_validate({**PLAN, "approvals": {"stage": "canary", "roles": "Tech-Lead"}})
    assert plan.approvals[0].counted_roles == ("tech lead",)
    assert plan.approvals[0].expires == WEEK


def test_a_difference_names_each_key_with_its_old_and_new_value() -> None:
    old = {"plan": {"soak": {"canary": 600}, "x": 1}, "hosts": [{"name": "h1", "port": 22}, {"name": "h2"}]}
    new = {"plan": {"soak": {"canary": 1}, "x": 1}, "hosts": [{"name": "h1", "port": 23}], "note": "n"}
    assert difference(old, new) == [
        "hosts.h1.port: 22 → 23",
        "hosts.h2.name: h2 → (absent)",
        "note: (absent) → n",
        "plan.soak.canary: 600 → 1",
    ]
    assert difference(old, old) == []
    many = difference({}, {str(n): n for n in range(10, 30)})
    assert (len(many), many[-1]) == (9, "and 12 more")
