"""A freeze is overridden on real hosts: by a reason and a second person, both recorded (issue 5: 3, 5; R4; faults 45, 53)."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zipfile import ZipFile

from tests.e2e.lab.controller import QUICK, Controller, outcomes, versions
from tests.torture.test_approvals import add, locks
from upkeep.audit.history import History
from upkeep.lab.lab import Lab

WHY = "the vendor closes the hole tonight"
FREEZE = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//site//freezes//EN
BEGIN:VEVENT
UID:1
DTSTAMP:20261101T000000Z
DTSTART:{begins:%Y%m%dT%H%M%SZ}
DTEND:{ends:%Y%m%dT%H%M%SZ}
SUMMARY:year-end freeze
END:VEVENT
END:VCALENDAR
"""


def frozen(lab: Lab) -> tuple[str, ...]:
    """Settings under which every host of the lab is frozen now."""
    now = datetime.now(UTC)
    text = FREEZE.format(begins=now - timedelta(hours=1), ends=now + timedelta(hours=5))
    (lab.plan_path.parent / "freeze.ics").write_text(text.replace("\n", "\r\n"))
    return (*QUICK, "freezes=freeze.ics")


def test_a_freeze_is_overridden_by_a_reason_and_a_second_person_and_both_are_in_the_evidence(
    lab: Lab, controller: Controller, tmp_path: Path
) -> None:
    settings = frozen(lab)
    bob, me = add(controller, "bob", "sre"), add(controller, getpass.getuser(), "approver")
    code, report = controller.run(lab, settings=settings)
    assert (code, report["outcome"], "year-end freeze" in report["reason"]) == (4, "refused", True), report
    code, report = controller.run(lab, "--override-window", "--reason", WHY, settings=settings)
    assert (code, report["outcome"]) == (5, "held"), report
    assert "override of the window" in report["reason"]
    assert set(versions(lab).values()) == {"1.4.2"}
    assert locks(lab) == []
    own = me("approve", "last")
    assert (own.returncode, "asked for this run" in own.stderr) == (4, True), own.stderr
    early = controller("resume", "last")
    assert early.returncode == 4, early.stderr
    given = bob("approve", "last", "--comment", "agreed with the board")
    assert (given.returncode, "that is enough" in given.stdout) == (0, True), given.stderr
    code, report = controller.json("resume", "last")
    assert (code, report["outcome"]) == (0, "succeeded"), report
    assert set(outcomes(report).values()) == {"committed"}
    assert set(versions(lab).values()) == {"1.5.0"}
    history = History.open(f"sqlite:///{controller.home / 'history.db'}")
    record, events = history.run(report["run"]).record, history.events(report["run"])
    assert record.override == WHY
    approvals = [(one.actor.name, one.stage, one.reason) for one in events if one.action == "approval.given"]
    assert approvals == [("bob", "override of the window", "agreed with the board")]
    refusals = [(one.actor.name, one.reason) for one in events if one.action == "approval.refused"]
    assert refusals[0][0] == getpass.getuser()
    history.close()
    exported = controller("history", "export", "last", "--out", str(tmp_path / "pack.zip"))
    assert exported.returncode == 0, exported.stderr
    with ZipFile(tmp_path / "pack.zip") as pack:
        page = next(pack.read(name).decode() for name in pack.namelist() if name.endswith("index.html"))
    for told in (WHY, "bob", "agreed with the board"):
        assert told in page, told


def test_an_override_that_somebody_rejects_touches_nothing(lab: Lab, controller: Controller) -> None:
    bob = add(controller, "bob", "on-call")
    code, _ = controller.run(lab, "--override-window", "--reason", WHY, settings=frozen(lab))
    assert code == 5
    assert bob("reject", "last", "--comment", "it can wait").returncode == 0
    code, report = controller.json("status", "last")
    assert (code, report["outcome"]) == (0, "stopped"), report
    assert "bob rejected override of the window: it can wait" in report["reason"]
    assert set(versions(lab).values()) == {"1.4.2"}
