"""The history's pages in Chromium: readable, usable by keyboard and on a phone, fresh while a run goes on (issue 6: 5; R5, R7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium, looked_at, needs_chromium, picture, window
from tests.served_pages import served_pages
from tests.unit.webhook.conftest import tell_large_run, tell_old_runs, tell_small_run
from upkeep.audit.people import People
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome, Step
from upkeep.domain.record import Actor
from upkeep.settings import Settings
from upkeep.wiring import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [needs_chromium, pytest.mark.xdist_group("pages")]


@dataclass
class Pages:
    site: Site
    address: str
    token: str


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """The application on a port of its own, with a large run, many old ones and one that goes on."""
    site = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path_factory.mktemp("pages"))}), {})
    tell_old_runs(site.history, 30)
    tell_large_run(site.history, 1000)
    tell_small_run(site.history, reason="kernel update", ticket="CHG-7")
    token = People(site.history).add("olga", ("viewer", "operator"), Actor(name="root"))
    with served_pages(site) as address:
        yield Pages(site, address, token)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(browser: Browser, pages: Pages) -> Iterator[Page]:
    """olga's window, signed in by her token with the keyboard alone."""
    with window(browser) as opened:
        opened.goto(f"{pages.address}/history")
        looked_at(opened, "sign-in")
        opened.keyboard.type(pages.token)  # the field has the focus
        opened.keyboard.press("Enter")
        opened.wait_for_url(f"{pages.address}/history")
        yield opened


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/history", "runs"),
        ("/history/runs/large?hosts=failed", "run-of-1000-hosts-failed"),
        ("/history/runs/r1", "run-in-work"),
        ("/history/runs/r1/hosts/web-2", "host-in-run"),
        ("/history/hosts/db-1", "host"),
        ("/history/runs/none", "not-found"),
    ],
)
def test_a_page_has_no_serious_fault_in_light_in_dark_and_on_a_phone(
    pages: Pages, browser: Browser, page: Page, path: str, name: str
) -> None:
    if name != "not-found":
        page.goto(pages.address + path)
        looked_at(page, name)
        return
    context = browser.new_context(storage_state=page.context.storage_state())  # 404 is a complaint of the console
    other = context.new_page()
    other.goto(pages.address + path)
    looked_at(other, name)
    context.close()


def test_a_thousand_hosts_are_shown_a_hundred_at_a_time_the_failed_ones_first(pages: Pages, page: Page) -> None:
    page.goto(f"{pages.address}/history/runs/large")
    picture(page, "run-of-1000-hosts")
    assert page.locator("table.matrix tbody tr").count() == 100
    assert page.locator("table.matrix tbody tr td .badge").first.inner_text() == "failed"
    page.get_by_role("link", name="next").click()
    page.get_by_text("page 2 of 10, 1000 hosts").wait_for()


def test_the_proof_is_one_press_away(pages: Pages, page: Page) -> None:
    page.goto(f"{pages.address}/history")
    page.get_by_role("link", name="Proof").click()
    page.get_by_role("button", name="Look now").click()
    page.get_by_text("Looked at").wait_for()
    looked_at(page, "proof")


def test_runs_are_searched_with_the_keyboard_alone(pages: Pages, page: Page) -> None:
    page.goto(f"{pages.address}/history")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("CHG-7")
    page.keyboard.press("Enter")
    page.get_by_text("kernel update").wait_for()
    assert page.locator("tbody tr").count() == 1


def test_a_run_is_watched_while_it_goes_on_asked_to_stop_and_seen_to_end(pages: Pages, page: Page) -> None:
    page.goto(f"{pages.address}/history/runs/r1")
    status = page.get_by_role("status")
    assert status.inner_text().startswith("2 of 3 hosts done")
    with pages.site.history.step("r1", "web-3", Step.SWITCH, stage="100%"):
        page.locator("td.quiet", has_text="now").wait_for()
        picture(page, "run-fresh")
    pages.site.history.host_result("r1", "web-3", HostResult(outcome=HostOutcome.COMMITTED, to_version="1.5"))
    page.get_by_text("3 of 3 hosts done").wait_for()
    page.get_by_label("Why stop?").fill("seen enough")
    page.get_by_role("button", name="Stop the run").click()
    page.get_by_text("Asked to stop: seen enough").wait_for()
    assert pages.site.history.stop_requested("r1") == "seen enough"
    pages.site.history.close_run("r1", RunOutcome.STOPPED, "somebody asked for it")
    page.locator("h1 .badge", has_text="stopped").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the evidence pack").click()
    assert download.value.suggested_filename == "upkeep-r1.zip"


def test_without_scripts_a_run_that_goes_on_still_reloads_itself(pages: Pages, browser: Browser, page: Page) -> None:
    tell_small_run(pages.site.history, "r2")
    context = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    plain = context.new_page()
    plain.goto(f"{pages.address}/history/runs/r2")
    assert plain.locator("noscript meta[http-equiv=refresh]").get_attribute("content") == "10"
    assert plain.get_by_role("status").inner_text().startswith("2 of 3")
    context.close()
