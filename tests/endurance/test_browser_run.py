"""A run as people meet it, in Chromium: asked for in the Prefect UI's form, approved in the history pages, watched to its end
(issue 5: 1, 2, 5, "Shown by"; R1, R4, R5). Pictures of every page go to build/screenshots."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.browser import chromium, looked_at, needs_chromium, picture, window
from tests.e2e.lab.controller import UPKEEP, Controller, versions
from tests.e2e.lab.served import Served, free_ports, request_for, until
from upkeep.lab.lab import Lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.timeout(1200), needs_chromium]
SLOW_MS = 300_000
"""For a page of the Prefect UI while other tests have the machine."""


@dataclass
class Front:
    """`upkeep up` over a lab of four hosts whose second stage waits for somebody; bob may approve."""

    served: Served
    lab: Lab
    ui: str
    pages: str
    token: str


def with_approval(lab: Lab) -> None:
    """The lab's plan with short waits, and an approval before its second stage."""
    plan = yaml.safe_load(lab.plan_path.read_text())
    settings = request_for(lab)["settings"]
    plan |= {key: value for key, value in settings.items() if not key.startswith("soak.")}
    plan["soak"] = {key.removeprefix("soak."): value for key, value in settings.items() if key.startswith("soak.")}
    plan["approvals"] = {"stage": plan["stages"][1]}
    lab.plan_path.write_text(yaml.safe_dump(plan))


@contextmanager
def started(controller: Controller, log: Path, ports: list[int]) -> Iterator[None]:
    words = [UPKEEP, "up", "--port", str(ports[0]), "--pages-port", str(ports[1])]
    with log.open("wb") as out:
        process = subprocess.Popen(words, env=controller.environment(), stdout=out, stderr=out, cwd="/")
    try:
        until(lambda: "Ctrl-C stops" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(180) == 0, log.read_text()


@pytest.fixture
def front(lab: Lab, tmp_path: Path) -> Iterator[Front]:
    with_approval(lab)
    controller = Controller(tmp_path / "home", {"UPKEEP_PLANS": str(lab.plan_path.parent)})
    added = controller("people", "add", "bob", "--role", "viewer", "--role", "approver")
    assert added.returncode == 0, added.stderr
    ports = free_ports(2)
    ui, pages = (f"http://127.0.0.1:{port}" for port in ports)
    with started(controller, tmp_path / "up.log", ports):
        yield Front(Served(controller, f"{ui}/api"), lab, ui, pages, added.stdout.strip())


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def test_maintenance_is_started_in_the_form_approved_in_the_pages_and_watched_until_it_is_done(
    front: Front, browser: Browser
) -> None:
    form = browser.new_page(viewport={"width": 1280, "height": 1500})
    form.set_default_timeout(SLOW_MS)
    asked_for_in(form, front)
    with window(browser) as page:
        page.set_default_timeout(SLOW_MS)
        signed_in(page, front)
        to_the_run(page, front)
        page.get_by_text("started from the form").wait_for()
        picture(page, "maintenance-1-begun")
        page.locator("h1 .badge", has_text="waits for the approval of stage 50 %").wait_for(timeout=SLOW_MS)
        assert "Nothing is held on any host meanwhile" in page.locator(".notice").first.inner_text()
        assert sorted(versions(front.lab).values()) == ["1.4.2"] * 3 + ["1.5.0"], "only the canary was changed"
        looked_at(page, "maintenance-2-waits")
        page.locator("#live").get_by_role("link", name="Approvals").click()
        page.get_by_text(re.compile("^50 ?%$")).first.wait_for()
        looked_at(page, "maintenance-3-approvals")
        page.get_by_role("button", name="Approve").click()
        picture(page, "maintenance-4-approved")
        to_the_run(page, front)
        page.locator("h1 .badge", has_text="succeeded").wait_for(timeout=SLOW_MS)
        assert page.get_by_role("status").inner_text() == "4 of 4 hosts done"
        looked_at(page, "maintenance-5-done")
    assert set(versions(front.lab).values()) == {"1.5.0"}
    (run,) = front.served.history.runs()
    assert (run.source, run.actor, run.ticket) == ("ui", "ann", "CHG-42")
    (given,) = [event for event in front.served.history.events(run.id) if event.action == "approval.given"]
    assert (given.actor.name, given.stage) == ("bob", "50 %")
    form.goto(f"{front.ui}/runs")
    form.get_by_text(re.compile("^maintenance plan ")).first.wait_for()
    picture(form, "prefect-runs")


def to_the_run(page: Page, front: Front) -> None:
    """From the list of runs, which is loaded again until the run is in it."""
    run = page.get_by_role("link", name=re.compile("^maintenance "))

    def listed() -> bool:
        page.goto(f"{front.pages}/history")
        return run.count() == 1

    until(listed)
    run.click()


def asked_for_in(form: Page, front: Front) -> None:
    """Everything chosen and typed as people do; a number that is too long is refused in the form first."""
    deployment = front.served.asked("GET", "deployments/name/maintenance/manual")["id"]
    form.goto(f"{front.ui}/deployments/deployment/{deployment}/run")
    form.get_by_text("Only these hosts").wait_for()
    picture(form, "prefect-form")
    choose(form, form.locator(".p-select-button__control").nth(0), front.lab.plan_path)
    choose(form, form.locator(".p-select-button__control").nth(1), front.lab.inventory_path)
    picture(form, "prefect-form-chosen")
    fill(form, "Reason", "started from the form")
    fill(form, "Requested by", "ann")
    fill(form, "Change ticket", "C" * 65)
    form.get_by_role("button", name="Submit").click()
    form.get_by_text("too long").first.wait_for()
    picture(form, "prefect-form-refused")
    fill(form, "Change ticket", "CHG-42")
    picture(form, "prefect-form-filled")
    form.get_by_role("button", name="Submit").click()
    form.wait_for_url(lambda address: not address.endswith("/run"))
    form.get_by_text(re.compile("^maintenance plan ")).first.wait_for()
    picture(form, "prefect-run-created")


def choose(form: Page, button: Locator, path: Path) -> None:
    """With the keyboard: the arrow opens the list, Enter takes the one that is marked."""
    button.press("ArrowDown")
    option = form.get_by_role("option").filter(has_text=re.compile(f"^\\s*{re.escape(str(path))}\\s*$"))
    option.wait_for()
    picture(form, f"prefect-form-{path.stem}-offered")
    option.click()
    option.wait_for(state="detached")
    assert str(path) in button.inner_text()


def fill(form: Page, label: str, text: str) -> None:
    form.get_by_text(label, exact=True).or_(form.get_by_text(f"{label} (Optional)", exact=True)).locator(
        "xpath=following::textarea[1]"
    ).fill(text)


def signed_in(page: Page, front: Front) -> None:
    page.goto(f"{front.pages}/history")
    page.get_by_label("Your token").fill(front.token)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{front.pages}/history")
