"""The scripts that a ticket system is given (deployments/tickets) run as they are, and what they send is taken (issue 5: 4; R3)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import dukpy
import pytest
from fastapi.testclient import TestClient

from tests.ticketing import SECRET, receiver, receiving
from upkeep.project import project_folder
from upkeep.wiring import Site

SAMPLES = project_folder() / "deployments/tickets"
INSTANCE = """
var gs = {
    getProperty: function (name) { return dukpy.properties[name]; },
    generateGUID: function () { return call_python('guid'); },
    sleep: function (ms) { call_python('slept', ms); },
    warn: function (text) { call_python('said', String(text)); },
    error: function (text) { call_python('said', String(text)); }
};
function GlideDateTime() {}
GlideDateTime.prototype.getNumericValue = function () { return call_python('now_ms'); };
function GlideCertificateEncryption() {}
GlideCertificateEncryption.prototype.generateMac = function (key, algorithm, data) { return call_python('mac', key, algorithm, data); };
function RESTMessageV2() { this.headers = {}; }
RESTMessageV2.prototype = {
    setHttpMethod: function (method) { this.method = method; },
    setEndpoint: function (url) { this.url = url; },
    setHttpTimeout: function (ms) {},
    setRequestHeader: function (name, value) { this.headers[name] = value; },
    setRequestBody: function (body) { this.body = body; },
    execute: function () {
        var status = call_python('sent', this.method, this.url, this.headers, this.body);
        return { getStatusCode: function () { return status; } };
    }
};
var sn_ws = { RESTMessageV2: RESTMessageV2 };
var current = { number: 'CHG0000042', state: '-1' };
var previous = { number: 'CHG0000042', state: '-2' };
"""
"""What ServiceNow gives to a business rule. Its engine knows ECMAScript 5, as this one does."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    common = {
        "url": "https://tickets.example",
        "sign_in": {"token": {"env": "DESK_SECRET"}},
        "changes": {"agent": {"plan": "plan.yaml", "inventory": "inventory.yaml"}},
    }
    secrets = [{"env": "DESK_SECRET"}]
    sources = {
        "servicenow": common
        | {"kind": "servicenow", "ids": "CHG[0-9]+", "webhook": {"scheme": "standard", "secrets": secrets}},
        "jira": common | {"kind": "jira", "ids": "[A-Z]+-[0-9]+", "webhook": {"scheme": "token", "secrets": secrets}},
    }
    with receiving(tmp_path, sources) as made:
        yield made


@pytest.fixture
def client(site: Site) -> TestClient:
    return receiver(site)


class Instance:
    """A ServiceNow instance that runs the business rule; `answers` stand for the network's, before ours."""

    def __init__(self, client: TestClient, *answers: int) -> None:
        self.client, self.answers = client, list(answers)
        self.statuses: list[int] = []
        self.said: list[str] = []
        self.slept_seconds = 0.0

    def change_changes(self) -> None:
        """Run the rule, as after an update of the change request."""
        engine = dukpy.JSInterpreter()
        engine.export_function("guid", lambda: uuid.uuid4().hex)
        engine.export_function("slept", self._sleep)
        engine.export_function("said", self.said.append)
        engine.export_function("now_ms", lambda: time.time() * 1000)
        engine.export_function("mac", mac)
        engine.export_function("sent", self._sent)
        secret = SECRET.removeprefix("whsec_")
        known = {"upkeep.webhook.url": "/webhooks/servicenow", "upkeep.webhook.secret": secret}
        engine.evaljs([INSTANCE, (SAMPLES / "servicenow-business-rule.js").read_text(), "null"], properties=known)

    def _sleep(self, milliseconds: float) -> None:
        self.slept_seconds += milliseconds / 1000

    def _sent(self, method: str, url: str, headers: dict[str, str], body: str) -> int:
        answer = self.client.request(method, url, headers=headers, content=body.encode())
        self.statuses.append(self.answers.pop(0) if self.answers else answer.status_code)
        return self.statuses[-1]


def mac(key: str, algorithm: str, data: str) -> str:
    """As GlideCertificateEncryption: the key in base64, the answer as well."""
    assert algorithm == "HmacSHA256"
    return base64.b64encode(hmac.new(base64.b64decode(key), data.encode(), hashlib.sha256).digest()).decode()


def test_servicenows_business_rule_signs_so_that_its_change_is_taken(client: TestClient, site: Site) -> None:
    instance = Instance(client)
    instance.change_changes()
    assert (instance.statuses, instance.said) == ([202], [])
    assert [str(one.ref) for one in site.deliveries.all()] == ["servicenow/CHG0000042"]


def test_servicenows_business_rule_repeats_what_was_not_answered_and_it_counts_once(
    client: TestClient, site: Site
) -> None:
    instance = Instance(client, 503, 429)
    instance.change_changes()
    assert (instance.statuses, instance.slept_seconds) == ([503, 429, 200], 120)
    assert [str(one.ref) for one in site.deliveries.all()] == ["servicenow/CHG0000042"]


def test_servicenows_business_rule_says_when_it_is_refused_and_does_not_try_again(client: TestClient) -> None:
    instance = Instance(client, 401)
    instance.change_changes()
    assert instance.statuses == [401]
    assert instance.said == ["Upkeep did not take change CHG0000042: 401"]


def smart_value(name: str, values: dict[str, str]) -> str:
    """As Jira fills it in: the text as it is, or as a JSON string with its quotes."""
    plain = name.removesuffix(".asJsonString")
    return json.dumps(values[plain]) if plain != name else values[plain]


def test_jiras_automation_rule_is_taken_and_every_delivery_is_one_of_its_own(client: TestClient, site: Site) -> None:
    page = (SAMPLES / "jira-automation.md").read_text()
    body = re.findall(r"```json\n(.*?)\n *```", page, re.DOTALL)[0]
    fill = {"issue.key": "CHANGE-7", "issue.status.name": 'Awaiting "go"', "rule.name": "tell Upkeep"}
    statuses = []
    for second in range(2):
        values = fill | {"now.jiraDateTime": f"2026-11-21T22:00:0{second}.000+0000"}
        text = re.sub(r"{{(.+?)}}", lambda found, values=values: smart_value(found[1], values), body)
        answer = client.post("/webhooks/jira", content=text.encode(), headers={"X-Upkeep-Token": SECRET})
        statuses.append(answer.status_code)
    assert statuses == [202, 202]
    assert {str(one.ref) for one in site.deliveries.all()} == {"jira/CHANGE-7"}
