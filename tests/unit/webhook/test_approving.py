"""Approving in the browser: signed in, or by a link of one's own (issue 5: 5; R4; fault 53)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

import tasks.take_up_approved
from tasks.keep_approvals import ApprovalKeeper, wait_for_approval
from tests.unit.audit.conftest import run_record
from tests.unit.tasks.test_approving import ROOT
from upkeep.audit.approval_links import ApprovalLinks, Invitation
from upkeep.audit.approvals import waits_for
from upkeep.domain.change import RunOutcome, Step
from upkeep.domain.plan import Plan
from upkeep.errors import AuditError, Refused
from upkeep.webhook.app import create_app

NASTY = '<script>alert("x")</script>'


@pytest.fixture
def asked(site, monkeypatch) -> dict[str, str]:
    """Run r1 of ann waits for its second stage; the tokens of people."""
    monkeypatch.setattr(tasks.take_up_approved, "PREFECT_API_URL", SimpleNamespace(value=lambda: None))
    tokens = {
        name: site.people.add(name, ["viewer", role], ROOT)
        for name, role in (("ann", "approver"), ("bob", "approver"), ("vic", "viewer"))
    }
    plan = Plan.model_validate({"name": "night", "profile": "x", "release": "r", "approvals": {"stage": "later"}})
    record = run_record(plan=plan, reason=NASTY)
    site.history.open_run(record)
    awaited = ApprovalKeeper(site.history, record).awaits("25 %", 1, datetime.now(UTC))
    wait_for_approval(SimpleNamespace(record=record, history=site.history), awaited)
    return tokens


@pytest.fixture
def browser(site, asked):
    def signed_in(name: str = "") -> TestClient:
        client = TestClient(create_app(site), client=("127.0.0.1", 50000), follow_redirects=False)
        client.headers["accept"] = "text/html"
        if name:
            assert client.post("/sign-in", data={"token": asked[name]}).status_code == 303
        return client

    return signed_in


def form(text: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(csrf|subject|code)" value="([^"]*)"', text))


def invitation(**changes: object) -> Invitation:
    facts = {
        "person": "bob",
        "run": "r1",
        "subject": "25 %",
        "plan_hash": "0" * 64,
        "expires": datetime.now(UTC) + timedelta(hours=1),
    }
    return Invitation.model_validate(facts | changes)


def code_of(site, made: Invitation) -> str:
    return ApprovalLinks(site.settings.keys).make("", made).partition("code=")[2]


def test_an_approver_who_is_signed_in_sees_what_it_is_about_and_approves_it(site, browser) -> None:
    bob = browser("bob")
    assert "This run waits for the approval of stage 25 %" in bob.get("/history/runs/r1").text
    text = bob.get("/approvals").text
    assert "maintenance r1" in text
    assert ("0" * 64 in text, NASTY in text, "&lt;script&gt;" in text) == (True, False, True)
    done = bob.post("/approvals/r1", data=form(text) | {"decision": "approve", "comment": "fine"})
    assert (done.status_code, "that is enough" in done.text) == (200, True)
    given = [event for event in site.history.events("r1") if event.action == "approval.given"]
    assert [(event.actor.name, event.reason, event.body["via"]) for event in given] == [("bob", "fine", "page")]


def test_a_waiting_runs_heading_and_the_list_of_runs_say_that_it_waits_and_for_what(site, browser) -> None:
    bob = browser("bob")
    state = re.compile(r'<span id="state"><span class="badge \w+">([^<]*)</span>')
    assert state.findall(bob.get("/history/runs/r1").text) == ["waits for the approval of stage 25 %"]
    with site.history.step("r1", "h1", Step.CHECK):
        pass
    live = bob.get("/history/runs/r1/live").text
    row = live.split('/history/runs/r1/hosts/h1"')[1]
    assert ">waiting</span>" in row, "nothing is done on a host that was only checked"
    assert '<template><span class="badge warn">waits for the approval of stage 25 %</span></template>' in live
    assert ">waits for approval</span>" in bob.get("/history").text
    site.history.request_stop("r1", ROOT, "not today")
    site.history.resume_run("r1", ROOT, "p2", flow_run_id="", reason="")
    assert state.findall(bob.get("/history/runs/r1").text) == ["stopping"]
    assert ">waits for approval</span>" not in bob.get("/history").text
    site.history.close_run("r1", RunOutcome.STOPPED, "not today")
    assert state.findall(bob.get("/history/runs/r1").text) == ["stopped"]


def test_who_may_not_approve_gets_no_form_and_a_form_sent_all_the_same_is_refused_and_recorded(site, browser) -> None:
    bobs = form(browser("bob").get("/approvals").text)
    for name, why in (("ann", "asked for this run"), ("vic", "vic is viewer")):
        client = browser(name)
        text = client.get("/approvals").text
        assert (why in text, "decision" in text) == (True, False)
        assert client.post("/approvals/r1", data=bobs | {"decision": "approve"}).status_code == 403, "not their form"
    assert browser().post("/approvals/r1", data=bobs | {"decision": "approve"}).status_code == 303, (
        "to the sign-in page"
    )
    assert waits_for(site.history, "r1").approvals == ()


def test_a_link_shows_a_page_that_decides_nothing_and_its_form_decides_once(site, browser) -> None:
    code = code_of(site, invitation())
    client = browser()
    for _ in range(3):
        shown = client.get("/approvals/link", params={"code": code})
        assert (shown.status_code, "bob: nothing is decided until you choose" in shown.text) == (200, True)
    assert waits_for(site.history, "r1").approvals == (), "programs that look at links approve nothing"
    assert client.post("/approvals/link", data={"code": code, "decision": "approve"}).status_code == 200
    again = client.post("/approvals/link", data={"code": code, "decision": "approve"})
    assert (again.status_code, "approved this already" in again.text) == (403, True)
    assert [a.person for a in waits_for(site.history, "r1").approvals] == ["bob"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"person": "ann"}, "asked for this run"),
        ({"person": "vic"}, "vic is viewer"),
        ({"person": "mallory"}, "nobody"),
        ({"subject": "100 %"}, "waits for 25 %"),
        ({"expires": datetime.now(UTC) - timedelta(seconds=1)}, "expired on"),
    ],
)
def test_a_link_of_the_wrong_person_for_another_stage_or_too_old_is_refused(site, browser, changes, why) -> None:
    answer = browser().post(
        "/approvals/link", data={"code": code_of(site, invitation(**changes)), "decision": "approve"}
    )
    assert (answer.status_code, why in answer.text) == (403, True), answer.text
    assert waits_for(site.history, "r1").approvals == ()


def test_a_link_that_was_changed_or_signed_elsewhere_is_refused_and_no_link_opens_from_another_site(
    site, browser, tmp_path
) -> None:
    code = code_of(site, invitation())
    other = ApprovalLinks(tmp_path / "elsewhere").make("", invitation()).partition("code=")[2]
    for bad in ("", "x", code[:-2], code[:10] + "A" + code[11:], other, "é" * 9):
        assert browser().get("/approvals/link", params={"code": bad}).status_code == 403
        assert browser().post("/approvals/link", data={"code": bad or "-", "decision": "approve"}).status_code == 403
    elsewhere = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert (
        browser().post("/approvals/link", data={"code": code, "decision": "approve"}, headers=elsewhere).status_code
        == 403
    )
    assert browser().post("/approvals/link", data={"code": code, "decision": "perhaps"}).status_code == 422
    assert waits_for(site.history, "r1").approvals == ()


def test_a_link_rejects_as_well_and_a_run_that_is_over_cannot_be_approved(site, browser) -> None:
    code = code_of(site, invitation())
    assert (
        browser().post("/approvals/link", data={"code": code, "decision": "reject", "comment": "no"}).status_code == 200
    )
    assert (site.history.run("r1").outcome, site.history.run("r1").reason) == (
        RunOutcome.STOPPED,
        "bob rejected 25 %: no",
    )
    assert browser().get("/approvals/link", params={"code": code}).status_code == 410
    late = browser().post("/approvals/link", data={"code": code, "decision": "approve"})
    assert (late.status_code, "the run is over" in late.text) == (403, True)


def test_the_key_of_links_is_this_users_alone(site) -> None:
    links = ApprovalLinks(site.settings.keys)
    code = code_of(site, invitation())
    path = site.settings.keys / "links.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(AuditError, match="others may read"):
        links.read(code)
    path.unlink()
    with pytest.raises(Refused, match="not made by this controller"):
        links.read(code)
