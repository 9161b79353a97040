"""What the pages count of a run is what its newest tries and findings say (issue 6: 5; R5)."""

from __future__ import annotations

import pytest

from upkeep.audit.history import History
from upkeep.domain.change import Step
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import CommandFailed


def test_each_host_counts_once_per_step_by_its_newest_try(history: History) -> None:
    for host in ("a", "b", "c", "d"):
        with pytest.raises(CommandFailed), history.step("r1", host, Step.BACKUP):
            raise CommandFailed(host, "full", exit_code=1)
    for host in ("a", "b"):
        with history.step("r1", host, Step.BACKUP):
            pass
    with pytest.raises(CommandFailed), history.step("r1", "c", Step.BACKUP):
        raise CommandFailed("c", "full", exit_code=1)
    with history.step("r1", "a", Step.BACKUP):
        assert history.step_counts("r1") == {Step.BACKUP: {"intent": 1, "ok": 1, "failed": 2}}
    assert history.step_counts("r1") == {Step.BACKUP: {"ok": 2, "failed": 2}}
    assert history.step_counts("another") == {}


def test_findings_that_are_no_pass_are_told_failures_first_and_counted(history: History) -> None:
    for host, verdict in (("a", Verdict.PASS), ("b", Verdict.WARN), ("c", Verdict.FAIL), ("d", Verdict.UNKNOWN)):
        history.findings("r1", host, "check", [Finding(check="x.y", verdict=verdict, reason="so it is")])
    listed, total = history.objections("r1", limit=2)
    assert [(host, finding.verdict) for host, _, finding in listed] == [("c", Verdict.FAIL), ("d", Verdict.UNKNOWN)]
    assert total == 3
