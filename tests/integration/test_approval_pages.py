"""Approving in Chromium: readable by everybody, decided with the keyboard alone (issue 6: 5; R4, R5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import tasks.take_up_approved
from tasks.keep_approvals import ApprovalKeeper, wait_for_approval
from tests.browser import chromium, looked_at, needs_chromium, window
from tests.served_pages import served_pages
from tests.unit.audit.conftest import run_record
from upkeep.audit.approval_links import ApprovalLinks, Invitation
from upkeep.audit.approvals import waits_for
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.record import Actor
from upkeep.settings import Settings
from upkeep.wiring import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [needs_chromium, pytest.mark.xdist_group("pages")]
HOSTS = tuple(Host(name=f"web-{number:02d}", address=f"10.0.0.{number}") for number in range(1, 41))


@dataclass
class Waiting:
    site: Site
    address: str
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waiting]:
    """Two runs of ann wait for their second stage: one for somebody who is signed in, one for a link."""
    site = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path_factory.mktemp("approvals"))}), {})
    tokens = {
        name: site.people.add(name, ["viewer", role], Actor(name="root"))
        for name, role in (("bob", "approver"), ("vic", "viewer"))
    }
    plan = Plan.model_validate({"name": "night", "profile": "x", "release": "r", "approvals": {"stage": "later"}})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tasks.take_up_approved, "PREFECT_API_URL", SimpleNamespace(value=lambda: None))
        for run in ("r1", "r2"):
            record = run_record(run, plan=plan, reason="kernel update", ticket="CHG-7", targets=HOSTS)
            site.history.open_run(record)
            awaited = ApprovalKeeper(site.history, record).awaits("25 %", 1, datetime.now(UTC))
            wait_for_approval(SimpleNamespace(record=record, history=site.history), awaited)
        with served_pages(site) as address:
            yield Waiting(site, address, tokens)


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser, window(browser) as opened:
        yield opened


def sign_in(page: Page, waiting: Waiting, name: str) -> None:
    page.goto(f"{waiting.address}/approvals")
    page.keyboard.type(waiting.tokens[name])
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1).wait_for()
    page.goto(f"{waiting.address}/approvals")


def test_what_waits_is_read_and_approved_with_the_keyboard_alone_without_a_serious_fault(
    waiting: Waiting, page: Page
) -> None:
    sign_in(page, waiting, "bob")
    page.get_by_text("CHG-7").first.wait_for()
    looked_at(page, "approvals")
    form = page.locator("form[action='/approvals/r1']")
    form.locator("[name=comment]").focus()
    page.keyboard.type("looked at the canary")
    button = form.locator("button[value=approve]")
    for _ in range(5):
        if button.evaluate("one => one === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("that is enough").wait_for()
    looked_at(page, "approval-given")
    (given,) = [event for event in waiting.site.history.events("r1") if event.action == "approval.given"]
    assert (given.actor.name, given.reason) == ("bob", "looked at the canary")


def test_who_may_not_approve_reads_why_and_finds_no_button(waiting: Waiting, page: Page) -> None:
    sign_in(page, waiting, "vic")
    page.get_by_text("vic is viewer").first.wait_for()
    assert page.locator("button[value=approve]").count() == 0
    looked_at(page, "approvals-of-a-viewer")


def test_a_link_is_read_on_a_phone_and_decides_only_when_its_button_is_pressed(waiting: Waiting, page: Page) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    made = Invitation(person="bob", run="r2", subject="25 %", plan_hash="0" * 64, expires=until)
    page.goto(waiting.address + ApprovalLinks(waiting.site.settings.keys).make("", made))
    looked_at(page, "approval-link")
    standing = waits_for(waiting.site.history, "r2")
    assert standing is not None
    assert standing.approvals == ()
    page.locator("button[value=reject]").click()
    page.get_by_role("heading", level=1).wait_for()
    looked_at(page, "approval-refused")
    assert waits_for(waiting.site.history, "r2") is None
