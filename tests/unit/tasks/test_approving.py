"""Approving and rejecting a run that waits: what counts, what is refused, and what the history says of it (issue 5: 5; R4; faults 44, 45, 53)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

import tasks.approving
import tasks.take_up_approved
from tasks.approving import Word, approve, reject
from tasks.keep_approvals import ApprovalKeeper, wait_for_approval
from tasks.refuse_unapprovable import refuse_unapprovable
from tasks.resume_run import _refuse_unapproved
from tasks.take_up_approved import look_after
from tests.unit.audit.conftest import run_record
from upkeep.audit.approvals import waits_for
from upkeep.audit.history import History
from upkeep.audit.people import People
from upkeep.domain.approval_rule import OVERRIDE
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.plan import Plan
from upkeep.domain.record import Actor, RunRequest
from upkeep.errors import BadInput, Refused

ROOT = Actor(name="root")
NIGHT = {"zone": "UTC", "rule": "FREQ=DAILY", "start": "2026-11-20 22:00", "duration": "4h"}
WEEK = timedelta(days=7)


class Waiting:
    """A run that waits for its second stage, and people who may or may not approve it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = History.open(f"sqlite:///{folder / 'history.db'}")
        self.site = SimpleNamespace(history=self.history)
        self.people = People(self.history)
        self.tokens = {
            "ann": self.people.add("ann", ["approver"], ROOT),
            "bob": self.people.add("bob", ["approver"], ROOT),
            "cat": self.people.add("cat", ["approver", "sre"], ROOT),
            "vic": self.people.add("vic", ["viewer"], ROOT),
        }

    def open(self, *, approvals: object = ({"stage": "later", "needed": 2},), override: str = "", **plan: object):
        made = Plan.model_validate({"name": "night", "profile": "x", "release": "r", "approvals": approvals, **plan})
        hosts = [{"name": f"h{n}", "address": f"10.0.0.{n}"} for n in range(1, 5)]
        record = run_record("r1", plan=made, plan_dir=str(self.folder), targets=hosts, override=override)
        self.history.open_run(record)
        self.record = record
        return self

    def wait(self, stage: str = "25 %", place: int = 1):
        awaited = ApprovalKeeper(self.history, self.record).awaits(stage, place, datetime.now(UTC))
        assert awaited is not None
        return wait_for_approval(SimpleNamespace(record=self.record, history=self.history), awaited)

    def word(self, name: str, **facts: str) -> Word:
        return Word(self.people.by_token(self.tokens.get(name, name)), "command", **facts)

    def approve(self, name: str, now: datetime | None = None, **facts: str) -> str:
        return approve(self.site, "r1", self.word(name, **facts), now)

    def refusal(self, name: str, now: datetime | None = None, **facts: str) -> str:
        with pytest.raises(Refused) as error:
            self.approve(name, now, **facts)
        assert error.value.exit_code == 4
        last = self.said("approval.refused")[-1]
        assert last.reason in str(error.value), "what the person is told is what the history says"
        return last.reason

    def said(self, action: str):
        return [event for event in self.history.events("r1") if event.action == action]


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiting]:
    monkeypatch.setattr(tasks.take_up_approved, "PREFECT_API_URL", SimpleNamespace(value=lambda: None))
    made = Waiting(tmp_path)
    yield made
    made.history.close()


def test_the_second_of_two_approvals_lets_the_run_go_on_and_each_is_in_the_history_with_its_person(waiting) -> None:
    report = waiting.open().wait()
    assert (report.outcome.exit_code, "upkeep approve r1" in report.reason) == (5, True)
    assert "still waiting: 2 people (approver); 1 given by bob" in waiting.approve("bob", comment="looks good")
    assert "waits for the approval of 25 %" in refusal_of_resume(waiting)
    assert "that is enough: go on with upkeep resume r1" in waiting.approve("cat")
    given = [(e.actor.name, e.stage, e.reason, e.body["plan_hash"]) for e in waiting.said("approval.given")]
    assert given == [("bob", "25 %", "looks good", "0" * 64), ("cat", "25 %", "", "0" * 64)]
    keeper = ApprovalKeeper(waiting.history, waiting.record)
    assert keeper.awaits("25 %", 1, datetime.now(UTC)) is None
    assert keeper.awaits("100 %", 2, datetime.now(UTC)) is not None, "an approval is for one stage"
    assert keeper.awaits("25 %", 1, datetime.now(UTC) + WEEK) is not None, "it lapses in the middle of a stage as well"
    assert "given by bob, cat" in _refuse_unapproved(waiting.site, waiting.history.run("r1"))
    assert waiting.history.verify().ok


def refusal_of_resume(waiting) -> str:
    with pytest.raises(Refused) as error:
        _refuse_unapproved(waiting.site, waiting.history.run("r1"))
    return str(error.value)


def test_every_approval_that_does_not_count_is_refused_with_its_reason_and_written_down(waiting) -> None:
    waiting.open()
    assert "does not wait for an approval" in waiting.refusal("bob")
    waiting.wait()
    assert "ann asked for this run" in waiting.refusal("ann")
    assert "vic is viewer; this needs 2 people (approver)" in waiting.refusal("vic")
    assert "the token is nobody's" in waiting.refusal("upkeep_made-up")
    assert waiting.said("approval.refused")[-1].actor.name == "unknown"
    waiting.people.revoke("cat", ROOT)
    assert "or was revoked" in waiting.refusal("cat")
    assert "lapsed on" in waiting.refusal("bob", datetime.now(UTC) + WEEK)
    assert "the run waits for 25 %" in waiting.refusal("bob", subject="100 %")
    waiting.approve("bob")
    assert "approved this already" in waiting.refusal("bob")
    assert len(waiting.said("approval.refused")) == 8
    assert len(waiting.said("approval.given")) == 1
    with pytest.raises(BadInput, match="there is no run 'r9'"):
        approve(waiting.site, "r9", waiting.word("bob"))


def test_what_changed_since_it_was_shown_voids_what_was_approved_and_is_named(waiting, monkeypatch) -> None:
    waiting.open().wait()
    waiting.approve("bob")
    monkeypatch.setattr(tasks.approving, "drift", lambda _site, _record: "plan.soak.canary: 600.0 → 1.0")
    assert "plan.soak.canary: 600.0 → 1.0" in waiting.refusal("cat")
    voided = waiting.said("approval.voided")
    assert [(event.reason, event.body["approvals"]) for event in voided] == [("plan.soak.canary: 600.0 → 1.0", ["bob"])]
    monkeypatch.undo()
    monkeypatch.setattr(tasks.take_up_approved, "PREFECT_API_URL", SimpleNamespace(value=lambda: None))
    assert "still waiting" in waiting.approve("cat"), "bob's yes is gone"
    assert "that is enough" in waiting.approve("bob")
    monkeypatch.setattr(tasks.approving, "drift", lambda _site, _record: "hosts.h1.port: 22 → 23")
    assert "the approval is void: hosts.h1.port: 22 → 23" in refusal_of_resume(waiting), "after the last yes as well"
    assert not waits_for(waiting.history, "r1").met(datetime.now(UTC))


def test_a_rejected_run_is_over_and_touches_no_further_host(waiting) -> None:
    waiting.open().wait()
    waiting.history.host_result("r1", "h1", HostResult(outcome=HostOutcome.COMMITTED))
    with pytest.raises(Refused, match="ann asked for this run"):
        reject(waiting.site, "r1", waiting.word("ann"))
    assert "no further host is touched" in reject(waiting.site, "r1", waiting.word("cat", comment="not on a Friday"))
    run = waiting.history.run("r1")
    assert (run.outcome, run.reason) == (RunOutcome.STOPPED, "cat rejected 25 %: not on a Friday")
    assert [run.hosts[f"h{n}"].outcome.value for n in (1, 2, 3, 4)] == ["committed", *["not started"] * 3]
    assert "the run is over: stopped" in waiting.refusal("bob")


def test_a_request_that_nobody_answers_in_time_ends_the_run_and_one_that_is_met_goes_on(waiting) -> None:
    waiting.open().wait()
    standing = waits_for(waiting.history, "r1")
    assert (
        look_after(waiting.site, waiting.history.run("r1"), standing, standing.lapses_at - timedelta(seconds=1)) == ""
    )
    assert "not approved in time" in look_after(waiting.site, waiting.history.run("r1"), standing, standing.lapses_at)
    assert waiting.history.run("r1").outcome is RunOutcome.STOPPED


def test_asking_again_does_not_give_more_time(waiting) -> None:
    waiting.open().wait()
    first = waits_for(waiting.history, "r1").lapses_at
    waiting.history.resume_run("r1", ROOT, "p", flow_run_id="", reason="by hand")
    waiting.wait()
    assert waits_for(waiting.history, "r1").lapses_at == first


def test_a_yes_lapses_when_the_window_it_was_given_for_ends(waiting) -> None:
    waiting.open(window=NIGHT).wait()
    before = datetime.now(UTC).replace(hour=12)
    waiting.approve("bob", before)
    ends = waits_for(waiting.history, "r1").approvals[0].valid_until
    assert (ends.hour, ends - before < timedelta(days=1)) == (2, True), (
        "given before the window opens, it holds for that one"
    )


def test_an_override_needs_a_reason_and_a_second_person_before_the_stage_is_asked_for(waiting) -> None:
    waiting.open(override="the vendor insists", window=NIGHT, approvals=({"stage": "canary"},)).wait("canary", 0)
    standing = waits_for(waiting.history, "r1")
    assert (standing.subject, waiting.said("approval.requested")[0].reason) == (OVERRIDE, "the vendor insists")
    assert "ann asked for this run" in waiting.refusal("ann")
    assert "that is enough" in waiting.approve("cat")
    waiting.history.resume_run("r1", ROOT, "p", flow_run_id="", reason="approved")
    waiting.wait("canary", 0)
    assert waits_for(waiting.history, "r1").subject == "canary"
    with pytest.raises(BadInput, match="overridden only with a reason"):
        refuse_unapprovable(waiting.record, RunRequest(override_window=True, reason=" "))


def test_a_run_from_the_form_names_who_asks_for_it_where_people_have_to_approve(waiting) -> None:
    waiting.open()
    with pytest.raises(BadInput, match="nobody is named who asks for it"):
        refuse_unapprovable(waiting.record, RunRequest(source="ui"))
    refuse_unapprovable(waiting.record, RunRequest(source="ui", requested_by="ann"))
    refuse_unapprovable(
        waiting.record.model_copy(update={"plan": Plan(name="n", profile="x", release="r")}), RunRequest()
    )


def test_a_plan_without_approvals_a_dry_run_and_the_way_back_wait_for_nobody(waiting) -> None:
    waiting.open()
    for changes in ({"dry_run": True}, {"runbook": "rollback"}, {"plan": Plan(name="n", profile="x", release="r")}):
        keeper = ApprovalKeeper(waiting.history, waiting.record.model_copy(update=changes))
        assert keeper.awaits("25 %", 1, datetime.now(UTC)) is None
