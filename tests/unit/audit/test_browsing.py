"""What the pages say of a run is what its newest tries, findings and deliveries say (issue 6: 3, 5; R5)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.unit.audit.conftest import run_record
from upkeep.audit.history import History
from upkeep.audit.rebuilding import rebuild
from upkeep.domain.change import Step
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.release import Artifact, Release
from upkeep.errors import ArtifactError, CommandFailed

ARCHIVES = [
    Artifact(arch=arch, url=f"https://x/{arch}.tgz", size_bytes=2**33, sha256=arch[0] * 64) for arch in ("amd64", "b64")
]
RELEASE = Release(product="x", version="2.0", release_seq=1, expires=datetime.now(UTC), artifacts=tuple(ARCHIVES))


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


def test_how_an_archive_reached_a_host_is_told_from_its_fetch_steps_and_rebuilt_from_them(history: History) -> None:
    history.open_run(run_record("r2", release=RELEASE))
    with pytest.raises(ArtifactError), history.step("r2", "web-01", Step.FETCH) as step:
        step.body |= {"way": "relay", "size_bytes": 2**33, "sha256": "a" * 64, "tries": 4}
        raise ArtifactError("the line is cut")
    with history.step("r2", "web-01", Step.FETCH) as step:
        step.body |= {"way": "push", "instead_of": "relay", "size_bytes": 2**33, "sha256": "a" * 64, "tries": 1}
    with history.step("r2", "web-02", Step.FETCH):
        pass  # it lay there already
    told = history.deliveries("r2", "web-01")
    assert [(one.way, one.instead_of, one.happening, one.tries) for one in told] == [
        ("relay", "", "failed", 4),
        ("push", "relay", "ok", 1),
    ]
    assert {(one.url, one.size_bytes) for one in told} == {("https://x/amd64.tgz", 2**33)}
    assert history.deliveries("r2", "web-02") == []
    assert {
        model.name: (model.rows, model.same) for model in rebuild(history) if model.name in {"artifacts", "deliveries"}
    } == {
        "artifacts": (2, True),
        "deliveries": (2, True),
    }
