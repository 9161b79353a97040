"""`upkeep up` as people meet it, in Chromium: a run started from the Prefect UI's form and watched in the history
(issue 5: 1, 2; issue 6: 5; R1, R5, R7). Pictures of every page go to build/screenshots."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from tests.e2e.lab.controller import UPKEEP, Controller, versions
from tests.e2e.lab.served import FINAL, Served, free_ports, request_for, until
from upkeep.domain.change import RunOutcome
from upkeep.lab.lab import Lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PICTURES = Path(__file__).parents[3] / "build" / "screenshots"
PHONE = {"width": 390, "height": 844}
SERIOUS = {"serious", "critical"}

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; ./setup.sh machines, as root, installs it"),
]


@dataclass
class Site:
    """A controller with `upkeep up` running over a lab of four hosts."""

    served: Served
    lab: Lab
    ui: str
    pages: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def link(self) -> str:
        found = re.search(r"http\S+/sign-in/link\S+", self.log.read_text())
        assert found, self.log.read_text()
        return found[0]


def quick(lab: Lab) -> None:
    """The lab's plan with short waits."""
    plan = yaml.safe_load(lab.plan_path.read_text())
    settings = request_for(lab)["settings"]
    plan |= {key: value for key, value in settings.items() if not key.startswith("soak.")}
    plan["soak"] = {key.removeprefix("soak."): value for key, value in settings.items() if key.startswith("soak.")}
    lab.plan_path.write_text(yaml.safe_dump(plan))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("browser")
    lab = Lab(folder / "lab")
    lab.up(hosts=4)
    quick(lab)
    port, pages_port = free_ports(2)
    own = {"UPKEEP_PLANS": str(lab.plan_path.parent), "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2"}
    controller = Controller(folder / "home", own)
    controller.home.mkdir()
    log = folder / "up.log"
    words = [UPKEEP, "up", "--port", str(port), "--pages-port", str(pages_port)]
    with log.open("wb") as out:
        process = subprocess.Popen(words, env=controller.environment(), stdout=out, stderr=out, cwd="/")
    ui, pages = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{pages_port}"
    made = Site(Served(controller, f"{ui}/api"), lab, ui, pages, process, log)
    try:
        until(lambda: "sign in:" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield made
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(120)
        lab.remove()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A window in which the controller's owner is signed in; nothing on its pages may be refused by their own policy."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    window = context.new_page()
    complaints: list[str] = []
    window.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    window.on("pageerror", lambda error: complaints.append(str(error)))
    window.goto(site.link)
    window.keyboard.press("Enter")  # the button has the focus
    window.wait_for_url(f"{site.pages}/history")
    yield window
    context.close()
    assert not complaints


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def faults_of(page: Page) -> list[str]:
    """What axe-core calls serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in SERIOUS]


def looked_at(page: Page, name: str) -> None:
    """A picture and axe-core's opinion: in light, in dark, on a phone; nothing is wider than the phone."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        picture(page, f"{name}-{scheme}")
        assert faults_of(page) == [], (name, scheme)
    wide = page.viewport_size
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    picture(page, f"{name}-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
    page.set_viewport_size(wide)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")


def fill_form(page: Page, site: Site, deployment: str) -> None:
    page.goto(f"{site.ui}/deployments/deployment/{deployment}/run")
    for place, path in enumerate((site.lab.plan_path, site.lab.inventory_path)):
        page.locator(".p-select").nth(place).click()
        page.get_by_text(str(path), exact=True).click()
    page.get_by_label("Reason (Optional)").fill("started from the form")
    page.get_by_label("Change ticket (Optional)").fill("CHG-42")
    picture(page, "prefect-form")


def test_maintenance_started_from_the_form_is_watched_in_the_history_until_it_is_done(
    site: Site, browser: Browser, page: Page
) -> None:
    deployment = site.served.asked("GET", "deployments/name/maintenance/manual")["id"]
    prefect = browser.new_page(viewport={"width": 1280, "height": 1500})
    fill_form(prefect, site, deployment)
    prefect.get_by_role("button", name="Submit").click()
    prefect.get_by_role("link", name=re.compile("View run|Flow run", re.IGNORECASE)).or_(
        prefect.get_by_text(re.compile("scheduled", re.IGNORECASE))
    ).first.wait_for()
    run = f"{site.pages}/history"
    until(lambda: "CHG-42" in (page.goto(run), page.content())[1])
    page.get_by_role("link", name=re.compile("^maintenance ")).click()
    page.get_by_text("started from the form").wait_for()
    page.locator("table.matrix tbody tr").first.wait_for(timeout=60_000)
    picture(page, "run-in-work")
    page.locator("h1 .badge", has_text="succeeded").wait_for(timeout=120_000)
    assert page.get_by_role("status").inner_text() == "4 of 4 hosts done"
    assert set(versions(site.lab).values()) == {"1.5.0"}
    looked_at(page, "run")
    prefect.close()


def test_every_page_is_usable_in_light_in_dark_and_on_a_phone(site: Site, page: Page) -> None:
    page.goto(f"{site.pages}/history")
    looked_at(page, "runs")
    page.get_by_role("link", name=re.compile("^maintenance ")).click()
    page.locator("table.matrix tbody a").first.click()
    looked_at(page, "host-in-run")
    page.get_by_role("link", name="All runs of this host").click()
    looked_at(page, "host")
    page.get_by_role("link", name="Proof").click()
    page.get_by_role("button", name="Look now").click()
    page.get_by_text("the chain is whole").wait_for()
    looked_at(page, "proof")


def test_the_pages_are_used_with_the_keyboard_alone(site: Site, page: Page) -> None:
    page.goto(f"{site.pages}/history")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("no such run")
    page.keyboard.press("Enter")
    page.get_by_text("No run matches").wait_for()


def test_signing_in_is_readable_for_somebody_who_is_not(site: Site, browser: Browser) -> None:
    window = browser.new_page()
    window.goto(f"{site.pages}/history")
    looked_at(window, "sign-in")
    window.close()


def test_a_wrong_value_is_refused_with_a_reason_before_anything_starts(site: Site) -> None:
    deployment = site.served.asked("GET", "deployments/name/maintenance/manual")["id"]
    request = request_for(site.lab) | {"ticket": "C" * 65}
    where = f"{site.served.api}/deployments/{deployment}/create_flow_run"
    refused = httpx.post(where, json={"parameters": {"request": request}}, timeout=30)
    assert (refused.status_code, "too long" in refused.text) == (409, True), refused.text


def test_a_plan_that_is_not_there_is_the_first_thing_the_run_says(site: Site) -> None:
    run = site.served.start({**request_for(site.lab), "plan": "/nowhere/plan.yaml"})
    ended = site.served.when(run, *FINAL)
    assert ended["state"]["type"] == "FAILED"
    assert "/nowhere/plan.yaml" in ended["state"]["message"], ended["state"]["message"]


def test_a_schedule_of_the_server_creates_runs_and_they_are_executed(site: Site) -> None:
    deployment = site.served.asked("GET", "deployments/name/pre_update_check/manual")["id"]
    parameters = {"request": {**request_for(site.lab), "reason": "every three seconds"}}
    schedule = {"interval": 3, "anchor_date": datetime.now(UTC).isoformat()}
    wanted = [{"schedule": schedule, "active": True, "parameters": parameters, "max_scheduled_runs": 2}]
    made = site.served.asked("POST", f"deployments/{deployment}/schedules", wanted)
    by_itself = {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    try:
        until(lambda: any(one["auto_scheduled"] for one in site.served.asked("POST", "flow_runs/filter", by_itself)))
    finally:
        site.served.asked("DELETE", f"deployments/{deployment}/schedules/{made[0]['id']}")
    assert any(run.reason == "every three seconds" for run in site.served.history.runs())


def test_stopping_upkeep_finishes_the_run_in_work_and_then_everything_is_gone(site: Site) -> None:
    run = site.served.start(
        {
            **request_for(site.lab),
            "settings": {**request_for(site.lab)["settings"], "soak.canary": "4s"},
            "reason": "drained",
        }
    )
    until(lambda: any(one.reason == "drained" for one in site.served.history.runs()))
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(120) == 0, site.log.read_text()
    drained = next(one for one in site.served.history.runs() if one.reason == "drained")
    assert drained.outcome is RunOutcome.SUCCEEDED, (run, drained)
    for address in (site.ui, site.pages):
        with pytest.raises(httpx.TransportError):
            httpx.get(address, timeout=2)
    assert not (site.served.controller.home / "sign-in-link").exists()
