"""A waiting run is approved and rejected in the form Prefect shows at Resume, by the code of a person's own link (issue 5: 5; R4; G3)."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.e2e.lab.controller import Controller, versions
from tests.e2e.lab.served import Served, request_for, until
from tests.endurance.test_waiting_run import free_port, up
from tests.torture.test_approvals import add
from upkeep.audit.approval_links import ApprovalLinks, Invitation
from upkeep.audit.approvals import waits_for
from upkeep.domain.change import RunOutcome
from upkeep.lab.lab import Lab

pytestmark = pytest.mark.timeout(1200)


def link(served: Served, run: str, person: str) -> str:
    """What the message to this person holds."""
    standing = waits_for(served.history, run)
    assert standing is not None
    made = Invitation(
        person=person, run=run, subject=standing.subject, plan_hash=standing.plan_hash, expires=standing.lapses_at
    )
    return ApprovalLinks(served.controller.home / "keys").make("https://upkeep.example", made)


def resume(served: Served, flow_run: str, **typed: str) -> None:
    answer = served.asked("POST", f"flow_runs/{flow_run}/resume", {"run_input": typed})
    assert answer["status"] == "ACCEPT", answer


def suspended_anew(served: Served, flow_run: str, before: str) -> str:
    """The id of the next pause's state."""
    found = [before]

    def reached() -> bool:
        state = served.asked("GET", f"flow_runs/{flow_run}")["state"]
        found.append(state["id"] if state["type"] == "PAUSED" else before)
        return found[-1] != before

    until(reached, 300, lambda: served.asked("GET", f"flow_runs/{flow_run}")["state"])
    return found[-1]


def test_two_people_approve_in_prefects_form_and_what_they_typed_is_not_kept_there(lab: Lab, tmp_path: Path) -> None:
    controller = Controller(tmp_path / "home")
    controller.home.mkdir()
    port, web = free_port(), free_port()
    served = Served(controller, f"http://127.0.0.1:{port}/api")
    with up(controller, port, web, tmp_path / "up.log"):
        for name in ("ann", "bob", "cat"):
            add(controller, name, "approver")
        request = request_for(lab, approvals="{stage: 50%, needed: 2}") | {"requested_by": "ann"}
        flow_run = served.start(request)
        pause = served.when(flow_run, "PAUSED")["state"]
        keyset, run = pause["state_details"]["run_input_keyset"], served.run_of(flow_run).id
        form = httpx.get(f"{served.api}/flow_runs/{flow_run}/input/{keyset['schema']}", timeout=30).json()
        assert all(field["title"] and field["description"] for field in form["properties"].values()), form
        typed = link(served, run, "bob")
        resume(served, flow_run, code="of-nobody", comment="")
        pause_id = suspended_anew(served, flow_run, pause["id"])
        resume(served, flow_run, code=link(served, run, "ann"), comment="my own")
        pause_id = suspended_anew(served, flow_run, pause_id)
        resume(served, flow_run, code=typed, comment="canary looks good")
        pause_id = suspended_anew(served, flow_run, pause_id)
        assert sorted(versions(lab).values()) == ["1.4.2"] * 3 + ["1.5.0"]
        resume(served, flow_run, code=link(served, run, "cat"))
        assert served.when(flow_run, "COMPLETED", "FAILED", "CRASHED", "CANCELLED")["state"]["type"] == "COMPLETED"
        kept = served.asked("POST", f"flow_runs/{flow_run}/input/filter", {"prefix": "suspended", "limit": 200})
        assert not [one for one in kept if one["key"].endswith("response")], kept
    events = served.history.events(run)
    refused = [(one.actor.name, one.body["via"]) for one in events if one.action == "approval.refused"]
    given = [(one.actor.name, one.body["via"], one.reason) for one in events if one.action == "approval.given"]
    assert refused == [("unknown", "form"), ("ann", "form")]
    assert given == [("bob", "form", "canary looks good"), ("cat", "form", "")]
    assert set(versions(lab).values()) == {"1.5.0"}


def test_a_wrong_value_is_the_runs_first_line_and_rejecting_in_the_form_changes_nothing_more(
    lab: Lab, tmp_path: Path
) -> None:
    controller = Controller(tmp_path / "home")
    controller.home.mkdir()
    port, web = free_port(), free_port()
    served = Served(controller, f"http://127.0.0.1:{port}/api")
    with up(controller, port, web, tmp_path / "up.log"):
        add(controller, "bob", "approver")
        wrong = served.when(served.start(request_for(lab, healthy_tme="1s")), "FAILED", "CRASHED", "COMPLETED")["state"]
        first = str(wrong["message"]).splitlines()[0]
        assert (wrong["type"], "healthy_tme" in first, "healthy_time" in first) == ("FAILED", True, True), wrong
        flow_run = served.start(request_for(lab, approvals="{needed: 1}") | {"requested_by": "ann"})
        served.when(flow_run, "PAUSED")
        run = served.run_of(flow_run).id
        resume(served, flow_run, code=link(served, run, "bob"), decision="reject", comment="not today")
        served.when(flow_run, "FAILED", "CANCELLED", "COMPLETED")
    over = served.history.run(run)
    assert (over.outcome, "bob rejected" in over.reason, "not today" in over.reason) == (RunOutcome.STOPPED, True, True)
    assert set(versions(lab).values()) == {"1.4.2"}
