"""Whatever is sent to the pages and the approvals, they answer and never break (issue 5: "Shown by": schemathesis, no 5xx; 5; R4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.unit.webhook.conftest import tell_small_run
from upkeep.audit.approval_links import ApprovalLinks
from upkeep.audit.people import People
from upkeep.domain.record import Actor
from upkeep.settings import Settings
from upkeep.webhook import approving, history_pages, sign_in
from upkeep.webhook.app import OPENAPI, create_app
from upkeep.wiring import Site

QUICK = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@dataclass(frozen=True)
class Signed:
    """The application, with ada signed in: her cookie and a token for her forms."""

    app: FastAPI
    site: Site
    cookie: str
    csrf: str


def _describing(self: APIRouter, **facts: Any) -> None:
    """A router whose pages are in the description, which for people they are not."""
    APIRouter.__init__(self, **facts | {"include_in_schema": True})


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    site = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path_factory.mktemp("pages"))}), {})
    token = People(site.history).add("ada", ("admin", "approver"), Actor(name="root"))
    tell_small_run(site.history)
    with pytest.MonkeyPatch.context() as patch:
        for module in (approving, history_pages, sign_in):
            patch.setattr(module, "APIRouter", type("Described", (APIRouter,), {"__init__": _describing}))
        app = create_app(site)
    browser = TestClient(app, follow_redirects=False)
    assert browser.post("/sign-in", data={"token": token}).status_code == 303
    found = re.search(r'name="csrf" value="([^"]+)"', browser.get("/history/proof").text)
    assert found
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    yield Signed(app, site, cookie, found[1])
    site.checkpoints.close()
    site.history.close()


@pytest.fixture
def pages_schema(ada: Signed):
    return schemathesis.openapi.from_asgi(OPENAPI, ada.app)


schema = schemathesis.pytest.from_fixture("pages_schema")


@schema.parametrize()
@QUICK
def test_no_request_breaks_a_page_or_a_form_of_somebody_signed_in(case, ada: Signed) -> None:
    if isinstance(case.body, dict) and "csrf" in case.body:
        case.body["csrf"] = ada.csrf
    answer = case.call(headers={"Cookie": ada.cookie, "Accept": "text/html"}, allow_redirects=False)
    assert answer.status_code < 500, (case.path, answer.text[:500])


def test_the_pages_and_the_approvals_are_among_what_was_tried(ada: Signed) -> None:
    described = set(TestClient(ada.app).get(OPENAPI).json()["paths"])
    wanted = {"/approvals", "/approvals/link", "/approvals/{run_id}", "/history", "/history/runs/{run_id}", "/sign-in"}
    assert wanted <= described


@QUICK
@given(facts=some.dictionaries(some.sampled_from(["person", "run", "subject", "plan_hash", "expires"]), some.text()))
def test_a_rightly_signed_link_of_any_content_breaks_nothing(ada: Signed, facts: dict[str, str]) -> None:
    code = ApprovalLinks(ada.site.settings.keys)._signer().dumps(facts)
    ada.app.state.guessing.right("testclient")
    answer = TestClient(ada.app).get("/approvals/link", params={"code": code})
    assert answer.status_code in {403, 404, 410}, answer.text
