from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi.testclient import TestClient
from httpx import Response

from upkeep.lab.control_centre import control_centre_app
from upkeep.lab.membership import Membership
from upkeep.lab.ms_720_agent.registration import public_pem, sign
from upkeep.lab.releases import build_release

KEY = ec.generate_private_key(ec.SECP256R1())


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Site:
    """A control centre and one device that talks to it."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.events = Clock(), folder / "events.jsonl"
        (folder / "releases").mkdir()
        expires = datetime.now(UTC) + timedelta(days=1)
        for version, variant in (("1.4.2", ""), ("1.5.0", ""), ("1.5.0", "slow")):
            build_release(
                folder / "releases" / f"{version}{'-' if variant else ''}{variant}",
                version,
                variant=variant,
                seq=1,
                expires=expires,
                key=KEY,
            )
        self.membership = Membership(self.clock, self.events)
        figures: dict[str, float | None] = {"error_pct": 0.2}
        self.api = TestClient(control_centre_app(self.membership, folder / "releases", figures, "https://127.0.0.1:1"))

    def register(
        self,
        key: ec.EllipticCurvePrivateKey = KEY,
        *,
        at: float | None = None,
        signed_by: ec.EllipticCurvePrivateKey | None = None,
        **changes: str,
    ) -> Response:
        stamp = f"{self.clock() if at is None else at:.6f}"
        body = {"device_id": "h1", "public_key": public_pem(key), "version": "1.4.2", "timestamp": stamp}
        body["signature"] = sign(signed_by or key, "\n".join(["h1", body["public_key"], "1.4.2", stamp]))
        answer: Response = self.api.post("/v1/nodes/register", json={**body, "heartbeat_interval": 10, **changes})
        return answer

    def heartbeat(
        self,
        version: str = "1.4.2",
        policy: str = "",
        *,
        at: float | None = None,
        key: ec.EllipticCurvePrivateKey = KEY,
    ) -> Response:
        stamp = f"{self.clock() if at is None else at:.6f}"
        body = {"version": version, "policy_version": policy, "timestamp": stamp}
        body["signature"] = sign(key, f"h1\n{version}\n{policy}\n{stamp}")
        answer: Response = self.api.post("/v1/nodes/h1/heartbeat", json=body)
        return answer

    def told(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.events.read_text().splitlines()]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_device_registers_and_its_heartbeats_say_what_it_runs(site: Site) -> None:
    assert site.register().status_code == 200
    site.clock.now += 5
    assert site.heartbeat("1.5.0", "2026.1").json() == {"policy_version": "2026.1"}
    node = site.api.get("/v1/nodes/h1").json()
    assert (node["id"], node["online"], node["version"], node["policy_version"]) == ("h1", True, "1.5.0", "2026.1")
    assert node["registered_at"] < node["last_seen"]
    assert site.api.get("/v1/nodes").json() == [node]


def test_a_device_is_offline_after_three_missed_heartbeats(site: Site) -> None:
    site.register()
    site.clock.now += 29
    assert site.api.get("/v1/nodes/h1").json()["online"]
    site.clock.now += 2
    assert not site.api.get("/v1/nodes/h1").json()["online"]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"signed_by": ec.generate_private_key(ec.SECP256R1())}, "signature"),
        ({"at": 1_800_000_000.0 - 301}, "timestamp"),
        ({"at": 1_800_000_000.0 + 301}, "timestamp"),
        ({"timestamp": "nan"}, "timestamp"),
        ({"timestamp": "soon"}, "cannot be read"),
        ({"signature": "!!"}, "cannot be read"),
        ({"public_key": "no key"}, "cannot be read"),
        ({"version": "9.9.9"}, "signature"),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, "P-256"),
    ],
)
def test_a_registration_that_is_not_authentic_is_refused_with_a_time_stamped_event(
    site: Site, how: dict[str, Any], reason: str
) -> None:
    answer = site.register(**how)
    assert (answer.status_code, site.api.get("/v1/nodes").json()) == (401, [])
    assert reason in answer.json()["detail"]
    event = site.told()[-1]
    assert (event["event"], event["node"]) == ("refused", "h1")
    assert reason in event["reason"]
    assert datetime.fromisoformat(event["at"]).tzinfo is not None


def test_another_key_cannot_take_over_a_registered_device(site: Site) -> None:
    site.register()
    site.clock.now += 1
    assert site.register(ec.generate_private_key(ec.SECP256R1())).status_code == 401
    assert site.register().status_code == 200


def test_a_message_that_was_seen_before_is_refused(site: Site) -> None:
    site.register()
    site.clock.now += 1
    assert site.heartbeat().status_code == 200
    assert site.heartbeat().status_code == 401
    assert site.register(at=site.clock() - 1).status_code == 401


def test_heartbeats_of_strangers_and_with_wrong_keys_are_refused(site: Site) -> None:
    assert site.heartbeat().status_code == 404
    site.register()
    site.clock.now += 1
    assert site.heartbeat(key=ec.generate_private_key(ec.SECP256R1())).status_code == 401
    site.api.delete("/v1/nodes/h1")
    assert site.heartbeat().status_code == 404


def test_a_malformed_message_is_refused_without_an_error_of_the_server(site: Site) -> None:
    for body in (b"", b"[]", b"{", b'{"device_id": "../x"}', b"\xff"):
        assert site.api.post("/v1/nodes/register", content=body).status_code == 422


def test_the_release_feed_names_the_newest_good_release_and_serves_its_files(site: Site) -> None:
    offer = site.api.get("/v1/agent/update", params={"version": "1.4.2"}).json()
    assert (offer["required"], offer["version"]) == (False, "1.5.0")
    for key in ("download_url", "manifest_url", "signature_url"):
        assert offer[key].startswith("https://127.0.0.1:1/releases/1.5.0/")
    archive = site.api.get(offer["download_url"].removeprefix("https://127.0.0.1:1"))
    assert len(archive.content) == offer["size_bytes"]


def test_the_feed_can_be_told_to_offer_another_release_and_to_require_it(site: Site) -> None:
    assert site.api.put("/v1/agent/update", json={"folder": "1.5.0-slow", "required_below": "1.5.0"}).status_code == 200
    offer = site.api.get("/v1/agent/update", params={"version": "1.4.2"}).json()
    assert (offer["required"], "/1.5.0-slow/" in offer["manifest_url"]) == (True, True)
    assert site.api.get("/v1/agent/update", params={"version": "1.5.0"}).json()["required"] is False
    assert site.api.put("/v1/agent/update", json={"folder": "9.9.9"}).status_code == 404


@pytest.mark.parametrize("version", ["", "latest", "1.5.x", "1" * 101])
def test_a_version_that_is_none_is_refused(site: Site, version: str) -> None:
    assert site.api.get("/v1/agent/update", params={"version": version}).status_code in {400, 422}


@pytest.mark.parametrize(
    "path",
    ["/releases/../events.jsonl", "/releases/%2e%2e/events.jsonl", "/releases/1.5.0/%2e%2e%2f%2e%2e%2fevents.jsonl"],
)
def test_only_release_files_are_served(site: Site, path: str) -> None:
    site.register()
    assert site.api.get(path).status_code == 404


def test_policies_and_figures_can_be_set(site: Site) -> None:
    site.api.put("/v1/policies/current", json={"version": "2026.2"})
    assert site.api.get("/v1/policies/current").json() == {"version": "2026.2"}
    assert site.api.get("/v1/figures/error_pct").json() == {"value": 0.2}
    site.api.put("/v1/figures/error_pct", json={"value": 12.5})
    assert site.api.get("/v1/figures/error_pct").json() == {"value": 12.5}
    assert "error_pct 12.5\n" in site.api.get("/v1/metrics").text
    assert site.api.get("/v1/figures/nothing").status_code == 404


def test_a_figure_without_a_value_is_silent(site: Site) -> None:
    site.api.put("/v1/figures/error_pct", json={"value": None})
    assert site.api.get("/v1/figures/error_pct").status_code == 503
    assert "error_pct" not in site.api.get("/v1/metrics").text
