"""What the control centre says, and what is made of it when it says nothing useful."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.services.site import Request, Site
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import ControlCentre
from upkeep.errors import BadInput, ServiceError
from upkeep.services.control_centre import ControlCentreClient, Retries, retry_after
from upkeep.services.registration import registration_findings
from upkeep.services.web import Limits

NODE = {"id": "h1", "online": True, "version": "1.5.0", "policy_version": "12", "last_seen": "2026-06-01T12:00:00Z"}
AMPLE = Limits(connect=timedelta(seconds=20), idle=timedelta(seconds=20), total=timedelta(seconds=30))


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.on_sleep()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def client(site: Site, time: Time) -> ControlCentreClient:
    return ControlCentreClient(site.url, limits=AMPLE, retries=Retries(sleep=time.sleep, jitter=lambda: 1.0))


def tell(site: Site, path: str, told: object) -> None:
    site.serve(path, json.dumps(told).encode(), Content_Type="application/json")


def in_turn(site: Site, path: str, *answers: tuple[int, bytes, dict[str, str]]) -> None:
    waiting: Iterator[tuple[int, bytes, dict[str, str]]] = iter(answers)

    def answer(request: Request) -> None:
        status, body, headers = next(waiting)
        request.reply(status, body, **headers)

    site.answers[path] = answer


def test_a_node_is_known_or_not(site: Site, client: ControlCentreClient) -> None:
    tell(site, "/v1/nodes/h1", {**NODE, "policy_version": 12, "unheard_of": 1})
    node = client.node("h1")
    assert node is not None
    assert (node.online, node.version, node.policy_version) == (True, "1.5.0", "12")
    assert client.node("h2") is None


def test_odd_node_names_stay_one_path_segment(site: Site, client: ControlCentreClient) -> None:
    client.node("../policies/current?x=1")
    assert site.asked[0][0] == "/v1/nodes/..%2Fpolicies%2Fcurrent%3Fx%3D1"


def test_policy_and_update_are_asked_for_as_agreed(site: Site, client: ControlCentreClient) -> None:
    tell(site, "/v1/policies/current", {"version": 12})
    tell(site, "/v1/agent/update", {"required": True, "version": "1.5.0", "manifest_url": "https://x/release.json"})
    assert client.policy_version() == "12"
    offer = client.latest("1.4.2+b")
    assert (offer.required, offer.manifest_url) == (True, "https://x/release.json")
    assert site.asked[-1][0] == "/v1/agent/update?version=1.4.2%2Bb"


@pytest.mark.parametrize("ask", [lambda c: c.policy_version(), lambda c: c.latest("1")])
def test_a_centre_without_policies_or_updates_says_so(
    client: ControlCentreClient, ask: Callable[[object], object]
) -> None:
    with pytest.raises(ServiceError, match="404"):
        ask(client)


def test_overload_is_waited_for_longer_each_time(site: Site, client: ControlCentreClient, time: Time) -> None:
    in_turn(site, "/v1/nodes/h1", (503, b"", {}), (429, b"", {}), (500, b"", {}), (200, json.dumps(NODE).encode(), {}))
    assert client.node("h1") is not None
    assert time.slept == [0.5, 1.0, 2.0]


def test_retry_after_is_honoured_up_to_half_a_minute(site: Site, client: ControlCentreClient, time: Time) -> None:
    good = (200, json.dumps(NODE).encode(), {})
    in_turn(site, "/v1/nodes/h1", (429, b"", {"Retry_After": "7"}), (503, b"", {"Retry_After": "99999"}), good)
    client.node("h1")
    assert time.slept == [7.0, 30.0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("3", 3),
        ("Mon, 01 Jun 2026 12:00:09 GMT", 9),
        ("Mon, 01 Jun 2020 12:00:09 GMT", 0),
        ("²", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert retry_after(value, datetime(2026, 6, 1, 12, tzinfo=UTC)) == seconds


def test_after_the_last_attempt_the_trouble_is_told(site: Site, client: ControlCentreClient, time: Time) -> None:
    site.serve("/v1/nodes/h1", b"overloaded", 503)
    with pytest.raises(ServiceError, match="status 503: overloaded"):
        client.node("h1")
    assert len(site.asked) == 4
    dead = ControlCentreClient("http://127.0.0.1:1", limits=AMPLE, retries=Retries(sleep=time.sleep))
    with pytest.raises(ServiceError):
        dead.node("h1")


def test_a_refused_token_is_not_tried_again(site: Site, client: ControlCentreClient) -> None:
    site.serve("/v1/nodes/h1", b"", 401)
    with pytest.raises(ServiceError, match="check the token"):
        client.node("h1")
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"<!doctype html><form>", "text/html", "login page"),
        (b"\n<html>", "application/json", "login page"),
        (b"ok", "text/plain", "not JSON: ok"),
        (b"", "application/json", "not JSON"),
        (b"\xff", "application/json", "not JSON"),
        (b"[]", "application/json", "not as agreed"),
        (b'{"id": "h1"}', "application/json", "not as agreed: online"),
        pytest.param(b"[" * 100_000, "application/json", "not JSON", id="deep"),
    ],
)
def test_answers_that_are_not_as_agreed_are_clear(
    site: Site, client: ControlCentreClient, body: bytes, kind: str, said: str
) -> None:
    site.serve("/v1/nodes/h1", body, Content_Type=kind)
    with pytest.raises(ServiceError, match=said):
        client.node("h1")


def test_the_token_comes_from_the_environment_and_stays_out_of_sight(site: Site) -> None:
    centre = ControlCentre(url=site.url, token_env="CENTRE_TOKEN")
    for value in ("", " ", "two words", "tokén"):
        with pytest.raises(BadInput, match="CENTRE_TOKEN") as caught:
            ControlCentreClient.of(centre, {"CENTRE_TOKEN": value})
        assert "tok\u00e9n" not in str(caught.value)
    client = ControlCentreClient.of(centre, {"CENTRE_TOKEN": "s3cret\n"})
    tell(site, "/v1/nodes/h1", NODE)
    client.node("h1")
    assert site.asked[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(client)
    assert ControlCentreClient.of(ControlCentre(url=site.url), {}).token is None


def look(client: ControlCentreClient, time: Time, within: float = 10) -> dict[str, Finding]:
    found = registration_findings(client, "h1", "1.5.0", timedelta(seconds=within), clock=time.clock, sleep=time.sleep)
    return {finding.check: finding for finding in found}


def verdicts(found: dict[str, Finding]) -> list[str]:
    return [found[check].verdict.value for check in ("centre.registered", "centre.version", "centre.policy")]


def test_a_node_that_is_back_passes_at_once(site: Site, client: ControlCentreClient, time: Time) -> None:
    tell(site, "/v1/nodes/h1", NODE)
    tell(site, "/v1/policies/current", {"version": 12})
    assert verdicts(look(client, time)) == ["pass"] * 3
    assert time.slept == []


def test_a_node_is_waited_for_until_it_is_back(site: Site, client: ControlCentreClient, time: Time) -> None:
    tell(site, "/v1/nodes/h1", {**NODE, "version": "1.4.2"})
    tell(site, "/v1/policies/current", {"version": 12})

    def later() -> None:
        if time.now >= 5:
            tell(site, "/v1/nodes/h1", NODE)

    time.on_sleep = later
    assert verdicts(look(client, time)) == ["pass"] * 3
    assert time.now == 6


def test_each_thing_that_is_wrong_is_told_with_evidence_and_remedy(
    site: Site, client: ControlCentreClient, time: Time
) -> None:
    tell(site, "/v1/nodes/h1", {**NODE, "online": False, "version": "1.4.2", "policy_version": "11"})
    tell(site, "/v1/policies/current", {"version": 12})
    found = look(client, time)
    assert verdicts(found) == ["fail"] * 3
    assert time.now == 10
    assert "1.4.2" in found["centre.version"].reason
    assert all("1.4.2" in f.evidence and f.remedy for f in found.values())


def test_a_node_that_never_came_back_fails(site: Site, client: ControlCentreClient, time: Time) -> None:
    tell(site, "/v1/policies/current", {"version": 12})
    found = look(client, time)
    assert verdicts(found) == ["fail"] * 3
    assert "not registered" in found["centre.registered"].reason


def test_a_silent_centre_is_unknown_and_never_good(site: Site, client: ControlCentreClient, time: Time) -> None:
    site.serve("/v1/nodes/h1", b"", 503)
    found = look(client, time)
    assert verdicts(found) == ["unknown"] * 3
    assert "503" in found["centre.registered"].evidence
    tell(site, "/v1/nodes/h1", NODE)
    assert [f.verdict for f in look(client, time).values()] == [Verdict.PASS, Verdict.PASS, Verdict.UNKNOWN]


def test_a_centre_that_falls_silent_does_not_keep_an_old_verdict(
    site: Site, client: ControlCentreClient, time: Time
) -> None:
    tell(site, "/v1/nodes/h1", {**NODE, "version": "1.4.2"})
    tell(site, "/v1/policies/current", {"version": 12})
    time.on_sleep = lambda: site.serve("/v1/nodes/h1", b"<html>", Content_Type="text/html")
    assert verdicts(look(client, time)) == ["unknown"] * 3
