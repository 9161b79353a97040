"""From a release at the control centre to a changed fleet: the watcher opens the plan, a person runs it (U1; issue 5: 7)."""

from __future__ import annotations

import yaml

from tests.e2e.lab.controller import QUICK, Controller, versions
from upkeep.lab.lab import Lab


def test_a_release_at_the_control_centre_becomes_a_plan_that_runs(lab: Lab, controller: Controller) -> None:
    trust = yaml.safe_load((lab.plan_path.parent / "profile.yaml").read_text())["trust"]
    written = yaml.safe_load(lab.plan_path.read_text())
    written |= {
        "name": "agent",
        "release": "releases/1.4.2/release.json",
        "trust": trust | {"ca": str(lab.paths.authority)},
    }
    template = lab.plan_path.with_name("agent.template.yaml")
    template.write_text(yaml.safe_dump(written))
    words = ("run", "release_watch", "-i", str(lab.inventory_path), "-p", str(template))
    code, report = controller.json(*words)
    assert (code, report["outcome"], report["hosts"]) == (0, "succeeded", {}), report
    assert "4 of 4 hosts have an older version; plan written to" in report["reason"]
    assert set(versions(lab).values()) == {"1.4.2"}, "nothing was started"
    assert "known already" in controller(*words).stdout
    plan = template.with_name("agent-1.5.0.yaml")
    settings = tuple(part for text in QUICK for part in ("--set", text))
    code, report = controller.json("run", "maintenance", "-i", str(lab.inventory_path), "-p", str(plan), *settings)
    assert (code, report["outcome"]) == (0, "succeeded"), report
    assert set(versions(lab).values()) == {"1.5.0"}
    assert "no release newer than 1.5.0" in controller(*words).stdout
