"""A hundred inspections of a clean lab raise no alarm (issue 7: proof; U12). Upkeep's own process goes through all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.e2e.lab.controller import Controller
from upkeep.lab.lab import Lab

HOW_OFTEN = 100
LONGEST_SECONDS = 3600
PROGRAM = """
import json, sys, time
from upkeep.commands.running import execute
from upkeep.domain.record import RunRequest
for _ in range(int(sys.argv[3])):
    began = time.monotonic()
    request = RunRequest(inventory=sys.argv[1], plan=sys.argv[2], source="cli")
    report = execute("health_inspection", request, as_json=True)
    hosts = {name: result.outcome.value + ": " + (result.reason or "") for name, result in report.hosts.items()}
    said = {"outcome": report.outcome.value, "reason": report.reason, "hosts": hosts, "seconds": time.monotonic() - began}
    sys.stdout.write(json.dumps(said) + "\\n")
    sys.stdout.flush()
"""
"""The real flow a hundred times: one Prefect server, one history that grows."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """As many hosts as `upkeep lab up` raises: a cohort large enough to be compared."""
    made = Lab(tmp_path / "lab")
    made.up(hosts=8)
    yield made
    made.remove()


@pytest.mark.timeout(LONGEST_SECONDS + 300)
def test_a_clean_lab_raises_no_alarm_at_a_hundred_inspections(lab: Lab, controller: Controller) -> None:
    words = [sys.executable, "-c", PROGRAM, str(lab.inventory_path), str(lab.plan_path), str(HOW_OFTEN)]
    judge_inspections(words, controller.environment(), controller.home.parent / "inspections.jsonl", hosts=8)


def judge_inspections(words: Sequence[str], environment: Mapping[str, str], kept: Path, *, hosts: int) -> None:
    """Run the program; every inspection looked at every host and found nothing, whatever came before it."""
    with kept.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            words, env=environment, stdout=file, stderr=subprocess.PIPE, text=True, timeout=LONGEST_SECONDS, check=False
        )
    assert done.returncode == 0, done.stderr[-3000:]
    said = [json.loads(line) for line in kept.read_text("utf-8").splitlines()]
    assert len(said) == HOW_OFTEN
    alarms = {
        number: (one["reason"], {name: text for name, text in one["hosts"].items() if text != "passed: "})
        for number, one in enumerate(said)
        if one["reason"] != "inspected: 0 new, 0 still, 0 gone"
    }
    assert alarms == {}
    assert {one["outcome"] for one in said} == {"succeeded"}
    assert {text for one in said for text in one["hosts"].values()} == {"passed: "}
    assert {len(one["hosts"]) for one in said} == {hosts}
