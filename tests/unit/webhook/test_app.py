"""The web application as a whole (issue 5: 1; issue 6: 5)."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from sqlalchemy.sql.compiler import SQLCompiler

import upkeep.webhook
from tests.unit.webhook.conftest import Tokens, tell_small_run
from upkeep.webhook.app import OPENAPI, create_app
from upkeep.webhook.rendering import environment
from upkeep.wiring import Site


def test_it_says_that_it_is_well_only_while_its_history_can_be_read(site: Site) -> None:
    client = TestClient(create_app(site), raise_server_exceptions=False)
    assert client.get("/healthz").json()["status"] == "ok"
    site.history._engine.dispose()
    Path(site.settings.database_url.removeprefix("sqlite:///")).write_bytes(b"not a database" * 100)
    assert client.get("/healthz").status_code == 503


@pytest.mark.parametrize("path", ["/healthz", "/nothing-here", OPENAPI])
def test_every_answer_forbids_scripts_frames_and_guessing(site: Site, path: str) -> None:
    headers = TestClient(create_app(site)).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")
    assert headers["cache-control"] == "no-store"


def test_a_module_of_the_room_that_has_a_router_is_part_of_the_application(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bells.py").write_text("")
    bells = ModuleType("upkeep.webhook.bells")

    def router(asked: Site) -> APIRouter:
        routes = APIRouter()
        routes.add_api_route("/bells", lambda: str(asked.settings.home))
        return routes

    bells.router = router  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "upkeep.webhook.bells", bells)
    monkeypatch.setattr(upkeep.webhook, "__path__", [*upkeep.webhook.__path__, str(tmp_path)])
    client = TestClient(create_app(site))
    assert client.get("/bells").json() == str(site.settings.home)
    assert "/bells" in client.get(OPENAPI).json()["paths"]


def test_pages_and_health_are_not_in_the_openapi_document_and_no_page_of_docs_loads_scripts_from_elsewhere(
    site: Site,
) -> None:
    client = TestClient(create_app(site))
    assert "/healthz" not in client.get(OPENAPI).json()["paths"]
    assert client.get("/docs").status_code == 404


def test_no_visitor_waits_for_templates_that_are_made_ready_when_the_application_starts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.cache_clear()
    client = TestClient(create_app(site))

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(environment(), "compile", refuse)
    assert client.get("/history", headers={"accept": "text/html"}).status_code == 200


def test_the_statements_of_a_runs_page_are_made_ready_when_the_application_starts(
    site: Site, people: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_small_run(site.history)
    compiled: list[str] = []
    really = SQLCompiler.__init__

    def counted(self: SQLCompiler, *args: Any, **more: Any) -> None:
        really(self, *args, **more)
        compiled.append(str(self))

    with TestClient(create_app(site)) as client:
        client.post("/sign-in", data={"token": people.by_name["ann"]})
        monkeypatch.setattr(SQLCompiler, "__init__", counted)
        assert client.get("/history/runs/r1").status_code == 200
    assert len(compiled) <= 2, compiled


def test_the_application_starts_though_its_history_went_away_meanwhile(site: Site) -> None:
    app = create_app(site)
    site.history._engine.dispose()
    Path(site.settings.database_url.removeprefix("sqlite:///")).write_bytes(b"not a database" * 100)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/healthz").status_code == 503


def test_no_visitor_waits_while_all_that_was_loaded_is_looked_through_for_garbage(site: Site) -> None:
    thresholds = gc.get_threshold()
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)
    try:
        with TestClient(create_app(site)):
            assert gc.get_freeze_count() > len(gc.get_objects())
            assert gc.get_threshold()[0] > 700
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
