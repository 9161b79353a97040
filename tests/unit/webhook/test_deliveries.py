"""POST /webhooks/{source}: who is let in, what is kept, how it is answered (issue 5: 4, Bad input; R3; fault 50)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.ticketing import SECRET, receiver, receiving
from upkeep.settings import Settings
from upkeep.webhook.deliveries import MOST_BYTES, router
from upkeep.webhook.refused_deliveries import MOST_KINDS, RefusedDeliveries
from upkeep.wiring import Site

TOKEN = "automation-token-1"
OLD = "an-older-secret-of-jira"
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))


def source(kind: str, scheme: str, ids: str) -> dict[str, Any]:
    secrets = {
        "standard": [{"env": "DESK_SECRET"}],
        "hub": [{"env": "HUB"}, {"env": "DESK_SECRET"}],
        "token": [{"file": "token"}],
    }
    return {
        "kind": kind,
        "url": "https://tickets.example",
        "sign_in": {"token": {"env": "DESK_SECRET"}},
        "ids": ids,
        "webhook": {"scheme": scheme, "secrets": secrets[scheme]},
        "changes": {"agent": {"plan": "plan.yaml", "inventory": "inventory.yaml"}},
    }


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    sources = {
        "snow": source("servicenow", "standard", "CHG[0-9]+"),
        "jsm": source("jira", "hub", "[A-Z]+-[0-9]+"),
        "automation": source("jira", "token", "[A-Z]+-[0-9]+"),
        "silent": {**source("generic", "standard", ""), "webhook": None},
    }
    (tmp_path / "token").write_text(TOKEN + "\n")
    with receiving(tmp_path, sources, HUB=OLD) as made:
        yield made


@pytest.fixture
def client(site: Site) -> TestClient:
    return receiver(site)


def body_of(ticket: object = "CHG1", **more: object) -> bytes:
    return json.dumps({"ticket": ticket, **more}).encode()


def standard(body: bytes, *, delivery: str = "d1", at: float | None = None, key: bytes = KEY) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(key, f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": delivery,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def hub(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Hub-Signature": f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"}


def kept(site: Site) -> list[str]:
    return [str(one.ref) for one in site.deliveries.all()]


def test_a_signed_delivery_is_kept_and_answered_202_and_its_repetition_200(client: TestClient, site: Site) -> None:
    body = body_of()
    first, again = (client.post("/webhooks/snow", content=body, headers=standard(body)) for _ in range(2))
    assert (first.status_code, first.json()) == (202, {"ticket": "snow/CHG1", "duplicate": False})
    assert (again.status_code, again.json()) == (200, {"ticket": "snow/CHG1", "duplicate": True})
    assert kept(site) == ["snow/CHG1"]


def test_a_repetition_signed_anew_is_still_a_repetition(client: TestClient, site: Site) -> None:
    for seconds_ago in (60, 0):
        body = body_of()
        headers = standard(body, delivery="same", at=time.time() - seconds_ago)
        assert client.post("/webhooks/snow", content=body, headers=headers).is_success
    assert kept(site) == ["snow/CHG1"]


def test_jiras_own_webhooks_are_told_apart_by_what_is_signed_and_not_by_an_unsigned_header(
    client: TestClient, site: Site
) -> None:
    body = json.dumps({"issue": {"key": "CHANGE-1"}, "timestamp": 1}).encode()
    answers = [
        client.post("/webhooks/jsm", content=body, headers={**hub(body), "X-Atlassian-Webhook-Identifier": n})
        for n in "ab"
    ]
    assert [one.status_code for one in answers] == [202, 200], "replayed under another identifier"
    assert kept(site) == ["jsm/CHANGE-1"]


def test_while_a_secret_is_changed_both_are_taken(client: TestClient) -> None:
    for secret in (OLD, SECRET):
        body = json.dumps(
            {"issue": {"key": "CHANGE-1"}, "secret": hashlib.sha256(secret.encode()).hexdigest()}
        ).encode()
        assert client.post("/webhooks/jsm", content=body, headers=hub(body, secret)).status_code == 202


def test_a_sender_that_cannot_sign_shows_its_token(client: TestClient) -> None:
    body = body_of("CHANGE-7")
    assert client.post("/webhooks/automation", content=body, headers={"X-Upkeep-Token": TOKEN}).status_code == 202
    assert client.post("/webhooks/automation", content=body, headers={"X-Upkeep-Token": TOKEN + "x"}).status_code == 401
    assert client.post("/webhooks/automation", content=body).status_code == 401


GOOD = standard(body_of())
FORGED = {
    "no headers": {},
    "no signature": {k: v for k, v in GOOD.items() if k != "webhook-signature"},
    "no id": {k: v for k, v in GOOD.items() if k != "webhook-id"},
    "another secret": standard(body_of(), key=b"x" * 32),
    "another body": standard(body_of("CHG2")),
    "signature without version": {**GOOD, "webhook-signature": GOOD["webhook-signature"].removeprefix("v1,")},
    "another version": {**GOOD, "webhook-signature": GOOD["webhook-signature"].replace("v1,", "v1a,")},
    "not base64": {**GOOD, "webhook-signature": "v1,%%%"},
    "only commas": {**GOOD, "webhook-signature": ",,, ,"},
    "empty signature": {**GOOD, "webhook-signature": "v1,"},
    "another id": {**GOOD, "webhook-id": "d2"},
    "a moved time": {**GOOD, "webhook-timestamp": str(int(GOOD["webhook-timestamp"]) + 1)},
    "time is no number": {**GOOD, "webhook-timestamp": "now"},
    "time in digits of another script": {**GOOD, "webhook-timestamp": "١٢".encode()},
    "time of 300 digits": {**GOOD, "webhook-timestamp": "9" * 300},
    "an hour old": standard(body_of(), at=time.time() - 3600),
    "an hour ahead": standard(body_of(), at=time.time() + 3600),
    "id of 10 kB": {**GOOD, "webhook-id": "d" * 10_000},
    "signature of 10 kB": {**GOOD, "webhook-signature": "v1,A " * 2_000},
    "id is not ASCII": {**GOOD, "webhook-id": "d\xff".encode("latin-1")},
    "hub signature for a standard source": hub(body_of()),
}


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED.keys())
def test_what_is_forged_malformed_or_too_old_is_401_and_not_kept(client: TestClient, site: Site, headers: Any) -> None:
    answer = client.post("/webhooks/snow", content=body_of(), headers=headers)
    assert answer.status_code == 401, answer.text
    assert answer.json()["detail"]["problem"]
    assert kept(site) == []


@pytest.mark.parametrize("seconds", [-310, 310])
def test_a_signed_time_is_believed_for_five_minutes(client: TestClient, seconds: int) -> None:
    body = body_of()
    assert (
        client.post("/webhooks/snow", content=body, headers=standard(body, at=time.time() + seconds)).status_code == 401
    )
    assert (
        client.post("/webhooks/snow", content=body, headers=standard(body, at=time.time() + seconds * 0.9)).status_code
        == 202
    )


def test_garbage_before_a_good_signature_does_not_hide_it(client: TestClient) -> None:
    body = body_of()
    headers = standard(body)
    headers["webhook-signature"] = f"garbage v1,AAAA v1a,xyz {headers['webhook-signature']} v2,later"
    assert client.post("/webhooks/snow", content=body, headers=headers).status_code == 202


BAD_BODIES = {
    "empty": b"",
    "not JSON": b"ticket=CHG1",
    "cut off": b'{"ticket": "CH',
    "not UTF-8": b'{"ticket": "\xff\xfe"}',
    "UTF-16": '{"ticket": "CHG1"}'.encode("utf-16"),
    "deeply nested": b"[" * 500_000,
    "deeply nested objects": b'{"ticket":' * 50_000,
    "a list": b'["CHG1"]',
    "null": b"null",
    "a number for a ticket": body_of(7),
    "an object for a ticket": body_of({"$ne": ""}),
    "a ticket of another source": body_of("CHANGE-1"),
    "a query for a ticket": body_of("CHG1^ORnumber=CHG2"),
    "a path for a ticket": body_of("../../etc/passwd"),
    "an address for a ticket": body_of("http://127.0.0.1/CHG1"),
    "a million digits": body_of("CHG" + "1" * 900_000),
    "NUL in the ticket": body_of("CHG1\0"),
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_signed_body_that_names_no_ticket_of_its_source_is_400_and_not_kept(
    client: TestClient, site: Site, body: bytes
) -> None:
    answer = client.post("/webhooks/snow", content=body, headers=standard(body))
    assert answer.status_code == 400, answer.text
    assert kept(site) == []


def test_a_body_of_10_mib_is_refused_before_it_is_read_to_its_end(client: TestClient) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(160):
            sent += 65536
            yield b"x" * 65536

    assert client.post("/webhooks/snow", content=pieces()).status_code == 413
    exactly = body_of() + b" " * (MOST_BYTES - len(body_of()))
    assert client.post("/webhooks/snow", content=exactly, headers=standard(exactly)).status_code == 202
    over = exactly + b" "
    assert client.post("/webhooks/snow", content=over, headers=standard(over)).status_code == 413


def test_a_body_that_ends_early_is_not_kept_and_its_sender_told_to_send_it_again(site: Site) -> None:
    app, body, sent = FastAPI(), body_of(), []
    app.include_router(router(site))
    coming = [{"type": "http.request", "body": body[:5], "more_body": True}, {"type": "http.disconnect"}]
    headers = [(name.encode(), value.encode()) for name, value in standard(body).items()]
    scope = {"type": "http", "method": "POST", "path": "/webhooks/snow", "query_string": b"", "headers": headers}

    async def receive() -> Any:
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 408
    assert kept(site) == []


@pytest.mark.parametrize("name", ["nobody", "silent", "x" * 129, "%2e%2e", "sn%00ow"])
def test_a_source_that_is_not_there_or_sends_nothing_is_not_found(client: TestClient, name: str) -> None:
    body = body_of()
    assert client.post(f"/webhooks/{name}", content=body, headers=standard(body)).status_code in {404, 422}


def test_without_ticket_systems_there_is_nothing_to_deliver_to(tmp_path: Path) -> None:
    environ = {"UPKEEP_HOME": str(tmp_path)}
    client = receiver(Site(Settings.from_environment(environ), environ))
    assert client.post("/webhooks/snow", content=b"{}").status_code == 404


def test_a_delivery_that_cannot_be_written_down_is_not_confirmed_so_that_it_is_sent_again(
    client: TestClient, site: Site, tmp_path: Path
) -> None:
    import sqlite3

    body = body_of()
    assert client.post("/webhooks/snow", content=body, headers=standard(body)).status_code == 202
    with sqlite3.connect(tmp_path / "history.db") as database:
        database.execute("DROP TABLE delivery")
    assert client.post("/webhooks/snow", content=body, headers=standard(body)).status_code == 503


def test_no_secret_is_in_an_answer_or_a_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.post("/webhooks/snow", content=body_of(), headers=FORGED["another secret"])
    for text in (answer.text, caplog.text):
        assert SECRET not in text
        assert FORGED["another secret"]["webhook-signature"] not in text


def refused(site: Site) -> list[Any]:
    return [event for event in site.history.events("") if event.action == "delivery.refused"]


def test_every_kind_of_refusal_is_in_the_history_with_its_reason_and_where_it_came_from(
    client: TestClient, site: Site
) -> None:
    body, cut = body_of(), b'{"ticket": "CH'
    client.post("/webhooks/snow", content=body, headers=FORGED["another secret"])
    client.post("/webhooks/snow", content=cut, headers=standard(cut))
    client.post("/webhooks/snow", content=b"x" * (MOST_BYTES + 1))
    client.post("/webhooks/nobody\u202e", content=body, headers=standard(body))
    told = [(event.body["source"], event.body["status"], event.reason) for event in refused(site)]
    assert [one[:2] for one in told] == [("snow", 401), ("snow", 400), ("snow", 413), ("(unknown)", 404)]
    assert [one[2] for one in told][1:] == [
        "the body is not JSON in UTF-8",
        f"the body is larger than {MOST_BYTES} bytes",
        "there is no such source, or it takes no webhooks",
    ]
    assert {event.body["from"] for event in refused(site)} == {"testclient"}
    assert {event.actor.kind for event in refused(site)} == {"ticket"}
    assert site.history.verify().ok


def test_a_flood_of_forged_deliveries_is_one_event_a_minute_that_says_how_many_there_were(site: Site) -> None:
    now = [1000.0]
    noted = RefusedDeliveries(site, clock=lambda: now[0])
    for _ in range(500):
        noted.note("snow", 401, "nobody's signature", "192.0.2.7")
    now[0] += 61
    noted.note("snow", 401, "nobody's signature", "192.0.2.7")
    assert [event.body["times"] for event in refused(site)] == [1, 500]


def test_reasons_without_end_fill_neither_memory_nor_history(site: Site) -> None:
    noted = RefusedDeliveries(site, clock=lambda: 1000.0)
    for number in range(3 * MOST_KINDS):
        noted.note("snow", 401, f"reason {number}", "192.0.2.7")
    assert len(refused(site)) == MOST_KINDS + 1


def test_a_refusal_that_cannot_be_written_down_is_answered_all_the_same(
    client: TestClient, site: Site, tmp_path: Path
) -> None:
    import sqlite3

    site.history.last_seq()
    with sqlite3.connect(tmp_path / "history.db") as database:
        database.execute("ALTER TABLE event RENAME TO elsewhere")
    assert client.post("/webhooks/snow", content=body_of(), headers=FORGED["no id"]).status_code == 401
