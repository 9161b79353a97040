"""A hundred inspections of clean Debian 12 hosts raise no alarm, through the real runbook (issue 7: proof; U12)."""

from __future__ import annotations

import sys

import pytest

from tests.endurance.machines.controller import Controller
from tests.endurance.test_hundred_inspections import HOW_OFTEN, LONGEST_SECONDS, PROGRAM, judge_inspections

pytestmark = [pytest.mark.machines, pytest.mark.timeout(LONGEST_SECONDS + 300), pytest.mark.xdist_group("machines")]


def test_clean_debian_hosts_raise_no_alarm_at_a_hundred_inspections(site: Controller) -> None:
    release = site.hosts[0].sh(". /etc/os-release; echo $ID $VERSION_ID").split()
    assert release[0] in {"debian", "ubuntu"}
    documents = [str(site.folder / name) for name in ("inventory.yaml", "plan.yaml")]
    words = site.hosts[0].fleet.control_command(sys.executable, "-c", PROGRAM, *documents, str(HOW_OFTEN))
    judge_inspections(words, site.environment(), site.folder / "inspections.jsonl", hosts=len(site.hosts))
