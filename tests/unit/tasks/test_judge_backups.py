"""A host's backups as the controller keeps them: too old, too small, gone, cut (issue 7: 1; B1)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.judge_backups import backup_findings
from tests.unit.audit.conftest import run_record
from upkeep.documents import load_catalogue
from upkeep.domain.finding import Finding, Verdict
from upkeep.settings import Settings
from upkeep.wiring import Site

NOW = datetime.now(UTC)
CHECKS = load_catalogue().asked("inspection", {})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path)}), {})
    made.history.open_run(run_record("r1", runbook="backup"))
    yield made
    made.checkpoints.close()
    made.history.close()


def taken(site: Site, size: int, *, stored: int | None = None) -> None:
    number = len(site.history.backups_of_host("h1"))
    path = site.settings.home / f"{number}.sealed"
    if stored is None or stored >= 0:
        path.write_bytes(b"x" * (size + 100 if stored is None else stored))
    site.history.backup_taken("r1", "h1", path=str(path), size_bytes=size, sha256="0" * 64, files=3, verified=True)


def found(site: Site, *, days: float = 0) -> dict[str, Finding]:
    findings = backup_findings(site.history, "h1", CHECKS, NOW + timedelta(days=days))
    return {finding.check: finding for finding in findings}


def test_a_host_without_a_backup_has_nothing_to_judge(site: Site) -> None:
    assert {finding.verdict for finding in found(site).values()} == {Verdict.PASS}
    assert "no backup of this host yet" in found(site)["backup.age"].reason


@pytest.mark.parametrize(("days", "verdict"), [(1, Verdict.PASS), (40, Verdict.WARN), (100, Verdict.FAIL)])
def test_an_old_backup_is_told_by_its_age(site: Site, days: float, verdict: Verdict) -> None:
    taken(site, 1000)
    assert found(site, days=days)["backup.age"].verdict is verdict


@pytest.mark.parametrize(("size", "verdict"), [(1000, Verdict.PASS), (300, Verdict.WARN), (4000, Verdict.WARN)])
def test_a_backup_of_an_unusual_size_is_told(site: Site, size: int, verdict: Verdict) -> None:
    taken(site, 1000)
    taken(site, 1100)
    taken(site, size)
    assert found(site)["backup.size"].verdict is verdict, found(site)["backup.size"]


@pytest.mark.parametrize(("stored", "word"), [(-1, "missing"), (10, "cut"), (0, "cut")])
def test_a_backup_that_is_gone_or_cut_is_told(site: Site, stored: int, word: str) -> None:
    taken(site, 1000, stored=stored)
    finding = found(site)["backup.stored"]
    assert finding.verdict is Verdict.FAIL
    assert finding.reason.startswith(word)
