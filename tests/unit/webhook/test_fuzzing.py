"""Whatever is sent, the web application answers and never breaks (issue 5: 4, "Shown by": schemathesis, no 5xx)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator

import pytest
import schemathesis
import yaml
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from upkeep.settings import Settings
from upkeep.webhook.app import OPENAPI, create_app
from upkeep.wiring import Site

KEY = "fuzzing-key"
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    home = tmp_path_factory.mktemp("fuzzed")
    source = {
        "kind": "generic",
        "url": "https://tickets.example",
        "sign_in": {"token": {"env": "KEY"}},
        "webhook": {"secrets": [{"env": "KEY"}]},
        "changes": {"agent": {"plan": "plan.yaml", "inventory": "inventory.yaml"}},
    }
    (home / "tickets.yaml").write_text(yaml.safe_dump({"sources": {"desk": source}}))
    environ = {"UPKEEP_HOME": str(home), "KEY": KEY}
    site = Site(Settings.from_environment(environ), environ)
    yield create_app(site)
    site.history.close()


@pytest.fixture
def api_schema(app):
    return schemathesis.openapi.from_asgi(OPENAPI, app)


schema = schemathesis.pytest.from_fixture("api_schema")


@schema.parametrize()
@QUICK
def test_no_request_that_the_own_description_allows_or_forbids_breaks_it(case) -> None:
    answer = case.call()
    assert answer.status_code < 500, answer.text


@QUICK
@given(
    body=some.one_of(
        some.binary(max_size=300),
        some.text(max_size=100).map(str.encode),
        some.from_regex(rb'\{"ticket": ?.{0,40}\}', fullmatch=True),
    ),
    delivery=some.from_regex(r"[!-~]{1,40}", fullmatch=True),
)
def test_no_body_breaks_it_even_when_it_is_rightly_signed(app, body: bytes, delivery: str) -> None:
    stamp = str(int(time.time()))
    digest = base64.b64encode(
        hmac.new(KEY.encode(), f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()
    ).decode()
    headers = {"webhook-id": delivery, "webhook-timestamp": stamp, "webhook-signature": f"v1,{digest}"}
    answer = TestClient(app).post("/webhooks/desk", content=body, headers=headers)
    assert answer.status_code in {200, 202, 400}, answer.text


def test_the_description_names_the_webhook_and_every_answer(app) -> None:
    described = TestClient(app).get(OPENAPI).json()["paths"]["/webhooks/{source}"]["post"]
    assert {"200", "202", "400", "401", "404", "413"} <= set(described["responses"])
    assert "application/json" in described["requestBody"]["content"]
