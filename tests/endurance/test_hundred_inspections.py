"""A hundred inspections of a clean lab raise no alarm (issue 7: proof; U12). Upkeep's own process goes through all of them."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.e2e.lab.controller import Controller
from upkeep.lab.lab import Lab

HOW_OFTEN = 100
LONGEST_SECONDS = 3600
PROGRAM = """
import json, sys
from upkeep.commands.running import execute
from upkeep.domain.record import RunRequest
for _ in range(int(sys.argv[3])):
    request = RunRequest(inventory=sys.argv[1], plan=sys.argv[2], source="cli")
    report = execute("health_inspection", request, as_json=True)
    sys.stdout.write(json.dumps({"outcome": report.outcome.value, "reason": report.reason}) + "\\n")
    sys.stdout.flush()
"""


def test_a_clean_lab_raises_no_alarm_at_a_hundred_inspections(lab: Lab, controller: Controller) -> None:
    words = [sys.executable, "-c", PROGRAM, str(lab.inventory_path), str(lab.plan_path), str(HOW_OFTEN)]
    done = subprocess.run(
        words,
        env=controller.environment(),
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == HOW_OFTEN
    alarms = {number: one for number, one in enumerate(said) if one["reason"] != "inspected: 0 new, 0 still, 0 gone"}
    assert alarms == {}
    assert {one["outcome"] for one in said} == {"succeeded"}
