"""Maintenance windows on a lab: refused outside, no new host near the end, freezes bind runs by hand (issue 5: 3; fault 45)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.e2e.lab.controller import QUICK, Controller, outcomes, tree_hash, versions
from upkeep.lab.lab import Lab

HOST_SECONDS = 40 + 41
"""What is kept free for a host of the lab with QUICK: start timeout 20 s and deadline 20 s; to go back 2 x 20 s and 1 s."""


def window(opens: datetime, length: timedelta) -> str:
    start = opens.strftime("%Y-%m-%d %H:%M:%S")
    return f"window={{zone: UTC, rule: FREQ=YEARLY, start: '{start}', duration: {int(length.total_seconds())}s}}"


def test_outside_its_window_a_run_is_refused_and_nothing_is_touched(controller: Controller, lab: Lab) -> None:
    before = {host.name: tree_hash(lab.paths.host(host.name).directory) for host in lab.status()}
    log = lab.paths.log.stat().st_size
    tomorrow = window(datetime.now(UTC) + timedelta(days=1), timedelta(hours=2))
    code, report = controller.run(lab, settings=(*QUICK, tomorrow))
    assert (code, report["outcome"]) == (4, "refused")
    assert "no maintenance window is open; the next one opens" in report["reason"]
    code, report = controller.run(lab, settings=(*QUICK, "freezes=gone.ics"))
    assert (code, report["outcome"]) == (4, "refused")
    assert "gone.ics: No such file" in report["reason"]
    code, report = controller.run(lab, "--override-window")
    assert (code, report["outcome"]) == (2, "refused")
    assert "overridden only with a reason" in report["reason"]
    assert lab.paths.log.stat().st_size == log, "no host was even connected to"
    assert {name: tree_hash(lab.paths.host(name).directory) for name in before} == before
    code, report = controller.run(lab, "--dry-run", settings=(*QUICK, tomorrow))
    assert code == 0, report


def test_no_host_begins_that_would_not_fit_and_a_rollback_waits_for_no_window(controller: Controller, lab: Lab) -> None:
    closes_in = timedelta(seconds=HOST_SECONDS + 45)
    opens = datetime.now(UTC) - timedelta(hours=1)
    settings = (*QUICK, "soak.canary=50s", window(opens, timedelta(hours=1) + closes_in))
    code, report = controller.run(lab, settings=settings)
    assert (code, report["outcome"]) == (1, "stopped"), report
    assert "the window closes" in report["reason"]
    assert sorted(outcomes(report).values()) == ["committed", "not started", "not started", "not started"]
    left = [host for host in report["hosts"].values() if host["outcome"] == "not started"]
    assert all("the window closes" in host["reason"] and "upkeep retry" in host["remedy"] for host in left)
    assert sorted(versions(lab).values()) == ["1.4.2", "1.4.2", "1.4.2", "1.5.0"]
    code, refused = controller.json("retry", "last")
    assert (code, refused["outcome"]) == (4, "refused"), "a retry keeps the window of its run"
    code, undone = controller.json("rollback", "last", "--reason", "it was a try")
    assert "rolled back" in outcomes(undone).values(), (code, undone)
    assert set(versions(lab).values()) == {"1.4.2"}
