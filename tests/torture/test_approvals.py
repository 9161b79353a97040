"""A stage that waits for people on real hosts: nothing is held meanwhile, and nobody approves their own run (issue 5: 5; R4; faults 44, 53)."""

from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path

from tests.e2e.lab.controller import QUICK, Controller, outcomes, versions
from upkeep.lab.lab import Lab

TWO = (*QUICK, "approvals={stage: 50%, needed: 2}")


def add(controller: Controller, name: str, *roles: str) -> Controller:
    """A person, as a controller that has their token in its environment."""
    done = controller("people", "add", name, *(part for role in roles for part in ("--role", role)))
    assert done.returncode == 0, done.stderr
    return replace(controller, environ=controller.environ | {"UPKEEP_TOKEN": done.stdout.strip()})


def locks(lab: Lab) -> list[Path]:
    """Locks that runs left on the hosts."""
    found = [lab.paths.host(host.name).directory.rglob("lock*") for host in lab.status()]
    return [path for paths in found for path in paths if "upkeep" in path.parts]


def test_the_second_stage_waits_for_two_others_and_the_run_goes_on_from_there(lab: Lab, controller: Controller) -> None:
    code, report = controller.run(lab, settings=TWO)
    assert (code, report["outcome"]) == (5, "held"), report
    assert "waits for the approval of stage" in report["reason"]
    assert list(outcomes(report).values()) == ["committed"]
    assert sorted(versions(lab).values()) == ["1.4.2"] * 3 + ["1.5.0"]
    assert locks(lab) == []
    bob, cat, me = (
        add(controller, "bob", "approver"),
        add(controller, "cat", "sre", "approver"),
        add(controller, getpass.getuser(), "approver"),
    )
    code, status = controller.json("status", "last")
    assert (code, status["outcome"], status["ended_at"]) == (0, "held", None)
    own = me("approve", "last")
    assert (own.returncode, "asked for this run" in own.stderr) == (4, True), own.stderr
    assert controller("approve", "last").returncode == 2, "no token at all"
    assert "still waiting" in bob("approve", "last", "--comment", "canary looks good").stdout
    assert "approved this already" in bob("approve", "last").stderr
    early = controller("resume", "last")
    assert (early.returncode, "1 given by bob" in early.stderr) == (4, True), early.stderr
    enough = cat("approve", "last")
    assert (enough.returncode, "that is enough" in enough.stdout) == (0, True), enough.stderr
    code, report = controller.json("resume", "last")
    assert (code, report["outcome"]) == (0, "succeeded"), report
    assert set(versions(lab).values()) == {"1.5.0"}
    assert controller("history", "verify").returncode == 0
    assert "the run is over" in bob("approve", "last").stderr


def test_an_approval_after_the_plan_was_edited_is_refused_with_the_difference_and_stopping_ends_the_run(
    lab: Lab, controller: Controller
) -> None:
    code, _ = controller.run(lab, settings=(*QUICK, "approvals={needed: 1}"))
    assert (code, set(versions(lab).values())) == (5, {"1.4.2"}), "the canary waits as well"
    bob = add(controller, "bob", "approver")
    before = lab.inventory_path.read_text()
    lab.inventory_path.write_text(before.replace("zone: a", "zone: z", 1))
    assert before != lab.inventory_path.read_text()
    refused = bob("approve", "last")
    assert (refused.returncode, "zone: a → z" in refused.stderr) == (4, True), refused.stderr
    lab.inventory_path.write_text(before)
    assert bob("approve", "last").returncode == 0
    lab.inventory_path.write_text(before.replace("zone: a", "zone: z", 1))
    void = controller("resume", "last")
    assert (void.returncode, "the approval is void" in void.stderr) == (4, True), void.stderr
    assert controller("stop", "last").returncode == 0
    code, report = controller.json("status", "last")
    assert (code, report["outcome"], set(outcomes(report).values())) == (0, "stopped", {"not started"})
    assert set(versions(lab).values()) == {"1.4.2"}
