"""An inspection's report opened in Chromium, in light, in dark and on a phone; its pictures are CI's (issue 7: 2; U12)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import PICTURES, chromium, looked_at, needs_chromium, window
from upkeep.documents import load_catalogue
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.inspection import Changes, Item, Looked
from upkeep.reports.inspection import Inspected, html

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = needs_chromium

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
FULL = Finding(check="host.disk.used", subject="/var/lib/data", verdict=Verdict.FAIL, reason="/var/lib/data is 97 % full (12 MiB free on /dev/mapper/vg0-data), at most 95 % is accepted", remedy="free room: du -xh /var/lib/data | sort -h | tail")  # fmt: skip
ROOT = Finding(check="agent.user", verdict=Verdict.WARN, reason="the agent runs as root (user id 0)", remedy="give the unit a User= of its own")  # fmt: skip
SILENT = Finding(check="host.clock.synchronised", verdict=Verdict.UNKNOWN, reason="neither chrony nor timedatectl tells", remedy="ask by hand")  # fmt: skip


def look(host: str, day: int, *problems: Finding) -> Looked:
    figures = {"host.disk.used:/var/lib/data": 80.0 + day, "host.memory.free": 60.0 - day % 3}
    return Looked(host=host, at=NOW + timedelta(days=day), problems=problems, figures=figures, passed=120)


def report() -> str:
    hosts = [f"web-{number:02}" for number in range(1, 13)]
    looks = {host: look(host, 14, *((FULL, ROOT) if host == "web-03" else ())) for host in hosts}
    changes = Changes(
        new=(Item("web-03", FULL),),
        still=(Item("web-03", ROOT), Item("web-07", SILENT)),
        gone=(Item("web-09", ROOT),),
        silent=("db-01",),
    )
    earlier = {"web-03": [look("web-03", day, ROOT) for day in range(14)]}
    isolated = ("web-03 was taken out of service: host.disk.used:/var/lib/data: it is full",)
    silent = {"db-01": "no TCP connection within 10 s"}
    return html(Inspected("20261121-030000-ab12", "night", NOW, load_catalogue(), looks, changes, earlier, silent, isolated))  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    file: Path = tmp_path_factory.mktemp("report") / "inspection.html"
    file.write_text(report(), encoding="utf-8")
    with chromium() as browser, window(browser) as opened:
        opened.goto(file.as_uri())
        yield opened


def test_the_report_has_no_serious_fault_in_light_in_dark_and_on_a_phone(page: Page) -> None:
    looked_at(page, "inspection-report")
    assert {path.name for path in PICTURES.glob("inspection-report-*.png")} >= {
        f"inspection-report-{kind}.png" for kind in ("light", "dark", "phone")
    }


def test_the_report_shows_counts_changes_charts_and_what_was_done_about_failing_hosts(page: Page) -> None:
    assert page.inner_text("h1") == "1 new, 2 still, 1 gone; 1 hosts did not answer"
    text = page.inner_text("body")
    for said in ("Did not answer: 1", "97 % full", "taken out of service", "Over the last inspections"):
        assert said in text
    assert page.locator("table svg").count() >= 1
