"""What an inspection leaves: history, report, outcome, and an alert only on change (issue 7: 2; U12 R6 R7 C8)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

import tasks.conclude_inspection
import tasks.inspect_host
from tasks.conclude_inspection import Inspection, conclude
from tests.unit.audit.conftest import run_record
from upkeep.audit.inspections import CONCLUDED, acknowledge, earlier_looks, known_issues
from upkeep.commands.acknowledging import ending
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.inspection import Acknowledgement, Looked
from upkeep.domain.notification import notice_of
from upkeep.domain.record import Actor, Event
from upkeep.errors import BadInput
from upkeep.settings import Settings
from upkeep.wiring import Site

NOW = datetime.now(UTC)
FULL = Finding(check="host.disk.used", subject="/", verdict=Verdict.FAIL, reason="/ is 97 % full <b>", remedy="free it")
ROOT = Finding(check="agent.user", verdict=Verdict.WARN, reason="runs as root", remedy="give it a user")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path)}), {})
    for module in (tasks.conclude_inspection, tasks.inspect_host):
        monkeypatch.setattr(module, "site", lambda: made)
    monkeypatch.setattr(tasks.conclude_inspection, "publish_report", lambda *_args, **_more: None)
    yield made
    made.checkpoints.close()
    made.history.close()


def inspected(site: Site, run: str, *looks: Looked, silent: dict[str, str] | None = None) -> tuple[RunOutcome, str]:
    """One inspection of hosts that are like this."""
    record = run_record(run, runbook="health_inspection", plan_dir=str(site.settings.home))
    site.history.open_run(record)
    inspection = Inspection(SimpleNamespace(record=record, history=site.history))  # type: ignore[arg-type]
    results = {look.host: inspection.take(look) for look in looks}
    for host, why in (silent or {}).items():
        results[host] = HostResult(outcome=HostOutcome.SET_ASIDE, reason=why)
    outcome, reason = conclude(inspection, results)
    site.history.close_run(run, outcome, reason)
    return outcome, reason


def look(host: str, *problems: Finding, used: float = 40) -> Looked:
    return Looked(host=host, at=NOW, problems=problems, figures={"host.disk.used:/": used}, passed=3, version="1.0")


def concluded(site: Site, run: str) -> Event:
    return next(event for event in site.history.events(run) if event.action == CONCLUDED)


def test_the_second_inspection_tells_only_what_changed(site: Site) -> None:
    assert inspected(site, "r1", look("h1", FULL), look("h2")) == (
        RunOutcome.FAILED,
        "inspected: 1 new, 0 still, 0 gone",
    )
    assert inspected(site, "r2", look("h1", FULL), look("h2")) == (
        RunOutcome.FAILED,
        "inspected: 0 new, 1 still, 0 gone",
    )
    assert inspected(site, "r3", look("h1"), look("h2", ROOT)) == (
        RunOutcome.SUCCEEDED,
        "inspected: 1 new, 0 still, 1 gone",
    )
    told = {run: notice_of(concluded(site, run), "health_inspection night") for run in ("r1", "r2", "r3")}
    assert {run: bool(notice) for run, notice in told.items()} == {"r1": True, "r2": False, "r3": True}
    assert told["r3"] is not None
    assert told["r3"].title == "health_inspection night: 1 new, 0 still, 1 gone"
    assert "h2: runs as root" in told["r3"].text
    closing = [event for event in site.history.events("r1") if event.action == "run.closed"]
    assert notice_of(closing[0], "x") is None, "nobody is told twice"


def test_every_host_has_its_outcome_reason_and_remedy(site: Site) -> None:
    inspected(site, "r1", look("h1", FULL, ROOT), look("h2", ROOT), silent={"h3": "no route"})
    hosts = site.history.run("r1").hosts
    assert (hosts["h1"].outcome, hosts["h2"].outcome) == (HostOutcome.FAILED, HostOutcome.PASSED)
    assert hosts["h1"].reason == "host.disk.used:/: / is 97 % full <b>"
    assert hosts["h1"].remedy == "free it"
    assert [row.finding for row in site.history.findings_of("r1", "h1", "inspection")] == [FULL, ROOT]


def test_unknown_is_never_counted_as_healthy(site: Site) -> None:
    silent = Finding(check="host.uptime", verdict=Verdict.UNKNOWN, reason="?", remedy="ask")
    assert inspected(site, "r1", look("h1", silent))[0] is RunOutcome.FAILED
    assert concluded(site, "r1").body["hosts"] == {"fail": 0, "unknown": 1, "warn": 0, "pass": 0}
    assert inspected(site, "r2", silent={"h1": "no route"})[0] is RunOutcome.FAILED, "nobody answered"
    assert inspected(site, "r3", look("h2"), silent={"h1": "no route"})[0] is RunOutcome.WITH_EXCEPTIONS
    assert concluded(site, "r3").body["hosts"] == {"fail": 0, "unknown": 1, "warn": 0, "pass": 1}


def test_an_acknowledged_issue_fails_nothing_until_its_day(site: Site) -> None:
    known = Acknowledgement(
        host="h1", check="host.disk.used:/", until=NOW + timedelta(days=1), reason="new disk ordered"
    )
    acknowledge(site.history, known, Actor(name="ann"))
    assert inspected(site, "r1", look("h1", FULL)) == (
        RunOutcome.SUCCEEDED,
        "inspected: 0 new, 0 still, 0 gone, 1 known",
    )
    assert known_issues(site.history)[0].by == "ann"
    acknowledge(site.history, known.model_copy(update={"until": NOW - timedelta(days=1)}), Actor(name="ann"))
    assert inspected(site, "r2", look("h1", FULL))[0] is RunOutcome.FAILED


def test_figures_of_earlier_inspections_are_found_again_in_their_order(site: Site) -> None:
    for number in range(3):
        inspected(site, f"r{number}", look("h1", used=number), look("h2"))
    earlier = earlier_looks(site.history, "r9", {"h1"})
    assert [one.figures["host.disk.used:/"] for one in earlier["h1"]] == [0, 1, 2]
    assert "h2" not in earlier


def test_the_report_is_one_file_that_fetches_nothing_and_escapes_what_hosts_say(site: Site) -> None:
    for number in range(3):
        inspected(site, f"r{number}", look("h1", FULL, used=90 + number), look("h2"), silent={"h3": "no <route>"})
    event = concluded(site, "r2")
    page = Path(event.body["report"]).read_text("utf-8")
    assert "&lt;b&gt;" in page
    assert "<b>\n" not in page
    assert "no &lt;route&gt;" in page
    assert not re.search(r"(src|href)=|url\(|@import|<script", page)
    assert "host.disk.used:/: 90 to 92, between 90 and 92" in page, "the chart says in words what it shows"
    assert page.count("<rect") == 3, "failing, unknown and healthy"
    assert "1 hosts did not answer" in event.reason


@pytest.mark.parametrize("text", ["yesterday", "2020-01-01", "0d", "999d", "31.12.2026", ""])
def test_an_end_that_is_no_day_is_over_or_too_far_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(BadInput, match="a day like 2026-12-31"):
        ending(text, NOW)


def test_an_end_is_a_day_from_now_or_the_end_of_a_day() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert ending("2d", now) == now + timedelta(days=2)
    assert ending("2026-11-21", now) == datetime(2026, 11, 22, tzinfo=UTC)
