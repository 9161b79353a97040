"""Signing in, and what a page does for whom (issue 5: 5; issue 6: 5)."""

from __future__ import annotations

import getpass
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from itsdangerous import URLSafeTimedSerializer

from tests.unit.webhook.conftest import Tokens, tell_small_run
from tests.unit.webhook.test_history_pages import csrf_in
from upkeep.audit.people import People
from upkeep.domain.record import Actor
from upkeep.errors import AuditError, BadInput
from upkeep.webhook.access import COOKIE, SESSION_SECONDS
from upkeep.webhook.secret_file import kept_secret
from upkeep.webhook.sign_in_link import SignInLink
from upkeep.wiring import Site

Visit = Callable[..., TestClient]
PAGES = ["/history", "/history/runs/r1", "/history/runs/r1/live", "/history/runs/r1/pack", "/history/runs/r1/hosts/web-1", "/history/hosts/web-1", "/history/proof"]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_shown_to_somebody_who_is_not_signed_in(site: Site, people: Tokens, visit: Visit, path: str) -> None:
    tell_small_run(site.history)
    answer = visit().get(path)
    assert (answer.status_code, answer.headers["location"].split("=")[0]) == (303, "/sign-in?next")
    assert "web-1" not in answer.text


def test_a_token_signs_in_and_leads_to_the_page_that_was_wanted(people: Tokens, visit: Visit) -> None:
    client = visit()
    wanted = client.get("/history?ticket=CHG-7").headers["location"]
    assert 'value="/history?ticket=CHG-7"' in client.get(wanted).text
    answer = client.post("/sign-in", data={"token": f" {people.by_name['ann']} ", "next": "/history?ticket=CHG-7"})
    assert answer.headers["location"] == "/history?ticket=CHG-7"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/history").status_code == 200


def test_a_wrong_token_is_refused_and_says_what_to_do(people: Tokens, visit: Visit) -> None:
    answer = visit().post("/sign-in", data={"token": "guess"})
    assert (answer.status_code, "ask an admin" in answer.text, COOKIE in answer.cookies) == (403, True, False)


@pytest.mark.parametrize("next_page", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nSet-Cookie: x=1"])  # fmt: skip
def test_signing_in_never_leads_to_another_site(people: Tokens, visit: Visit, next_page: str) -> None:
    answer = visit().post("/sign-in", data={"token": people.by_name["ann"], "next": next_page})
    assert answer.headers["location"] == "/history"


def test_over_tls_the_cookie_is_never_sent_in_clear(people: Tokens, visit: Visit) -> None:
    client = visit()
    client.base_url = "https://upkeep.example"
    assert "Secure" in client.post("/sign-in", data={"token": people.by_name["ann"]}).headers["set-cookie"]


def test_a_forged_and_an_old_session_count_for_nothing(
    site: Site, people: Tokens, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = visit("ann")
    forged = URLSafeTimedSerializer("guess", salt="upkeep session").dumps({"name": "ada", "how": "token"})
    for session in (forged, "", "x.y.z", client.cookies[COOKIE][:-1]):
        other = visit()
        other.cookies.set(COOKIE, session)
        assert other.get("/history").status_code == 303, session
    assert client.get("/history").status_code == 200
    monkeypatch.setattr(
        "itsdangerous.timed.time.time", lambda: __import__("datetime").datetime.now().timestamp() + SESSION_SECONDS + 5
    )
    assert client.get("/history").status_code == 303


def test_somebody_who_was_revoked_or_got_a_new_token_is_signed_out_at_once(people: Tokens, visit: Visit) -> None:
    ann, olga, ada = visit("ann"), visit("olga"), visit("ada")
    people.people.revoke("ann", Actor(name="root"))
    people.add("olga", "viewer")
    assert [one.get("/history").status_code for one in (ann, olga, ada)] == [303, 303, 200]
    assert visit("olga").get("/history").status_code == 200


def test_signing_out_takes_the_session_away(people: Tokens, visit: Visit) -> None:
    client = visit("ann")
    answer = client.post("/sign-out", data={"csrf": csrf_in(client.get("/history").text)})
    assert (answer.status_code, client.get("/history").status_code) == (303, 303)


@pytest.mark.parametrize("path", ["/history/runs/r1/stop", "/history/proof", "/sign-out"])
def test_a_form_needs_its_own_token_and_must_come_from_our_own_pages(
    site: Site, people: Tokens, visit: Visit, path: str
) -> None:
    tell_small_run(site.history)
    ada, ann = visit("ada"), visit("ann")
    mine, anothers = csrf_in(ada.get("/history").text), csrf_in(ann.get("/history").text)
    for csrf in ("", "x", anothers):
        refused = ada.post(path, data={"csrf": csrf, "reason": "r"})
        assert (refused.status_code, "nothing was done" in refused.text) == (403, True)
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        assert ada.post(path, data={"csrf": mine, "reason": "r"}, headers=headers).status_code == 403
    assert site.history.stop_requested("r1") is None
    ours = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}
    assert ada.post(path, data={"csrf": mine, "reason": "r"}, headers=ours).status_code == 303


def test_signing_in_from_another_sites_form_is_refused(people: Tokens, visit: Visit) -> None:
    headers = {"origin": "https://evil.example"}
    assert visit().post("/sign-in", data={"token": people.by_name["ann"]}, headers=headers).status_code == 403


@pytest.mark.parametrize(("name", "allowed"), [("ann", False), ("olga", True), ("ada", True)])
def test_only_operators_and_admins_stop_a_run(
    site: Site, people: Tokens, visit: Visit, name: str, allowed: bool
) -> None:
    tell_small_run(site.history)
    client = visit(name)
    page = client.get("/history/runs/r1").text
    assert ("Stop the run" in page) is allowed
    answer = client.post("/history/runs/r1/stop", data={"csrf": csrf_in(page), "reason": "r"})
    assert (answer.status_code, site.history.stop_requested("r1")) == ((303, "r") if allowed else (403, None))


def test_where_nobody_has_a_token_the_link_signs_in_its_owner_once_after_a_click(site: Site, visit: Visit) -> None:
    address = SignInLink(site.settings).make("http://testserver")
    client = visit()
    assert client.get(address).status_code == 200
    assert client.get("/history").status_code == 303
    key = address.partition("key=")[2]
    assert client.post("/sign-in/link", data={"key": key}).headers["location"] == "/history"
    assert f"{getpass.getuser()} (admin)" in client.get("/history").text
    again = visit().post("/sign-in/link", data={"key": key})
    assert (again.status_code, "used already" in again.text) == (403, True)


def test_the_link_lies_on_the_disk_only_as_a_hash_that_others_cannot_read(site: Site) -> None:
    site.settings.home.mkdir(exist_ok=True)
    key = SignInLink(site.settings).make("http://x").partition("key=")[2]
    path = site.settings.home / "sign-in-link"
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("address", ["10.0.0.7", "::ffff:10.0.0.7", "", "elsewhere"])
def test_the_link_works_on_the_machine_itself_only(site: Site, visit: Visit, address: str) -> None:
    site.settings.home.mkdir(exist_ok=True)
    key = SignInLink(site.settings).make("http://x").partition("key=")[2]
    assert visit(address=address).post("/sign-in/link", data={"key": key}).status_code == 403
    assert visit().post("/sign-in/link", data={"key": key}).status_code == 303


def test_link_and_its_session_end_once_the_controller_knows_people(site: Site, visit: Visit) -> None:
    link, client = SignInLink(site.settings), visit()
    client.post("/sign-in/link", data={"key": link.make("http://x").partition("key=")[2]})
    assert client.get("/history").status_code == 200
    Tokens(People(site.history), {}).add("ann", "viewer")
    assert client.get("/history").status_code == 303
    key = link.make("http://x").partition("key=")[2]
    assert visit().post("/sign-in/link", data={"key": key}).status_code == 403


class TestProxy:
    """The site's own single sign-on."""

    @pytest.fixture
    def environ(self) -> dict[str, str]:
        return {"UPKEEP_PROXY_HEADER": "X-Remote-User", "UPKEEP_TRUSTED_PROXIES": "10.0.0.5, 10.1.0.0/16"}

    @pytest.mark.parametrize(("address", "login"), [("10.0.0.5", "olga"), ("10.1.2.3", "Olga.K")])
    def test_a_name_from_a_trusted_proxy_signs_in(self, people: Tokens, visit: Visit, address: str, login: str) -> None:
        answer = visit(address=address).get("/history", headers={"x-remote-user": login})
        assert (answer.status_code, "olga (operator, viewer)" in answer.text) == (200, True)

    @pytest.mark.parametrize("address", ["10.0.0.6", "127.0.0.1", "::1", "testclient"])
    def test_the_same_header_from_anywhere_else_counts_for_nothing(
        self, people: Tokens, visit: Visit, address: str
    ) -> None:
        assert visit(address=address).get("/history", headers={"x-remote-user": "ada"}).status_code == 303

    def test_a_name_the_controller_does_not_know_is_refused(self, people: Tokens, visit: Visit) -> None:
        answer = visit(address="10.0.0.5").get("/history", headers={"x-remote-user": "eve"})
        assert (answer.status_code, "whom this controller does not know" in answer.text) == (403, True)

    def test_forms_of_somebody_from_the_proxy_need_their_token_as_well(
        self, site: Site, people: Tokens, visit: Visit
    ) -> None:
        tell_small_run(site.history)
        client = visit(address="10.0.0.5")
        client.headers["x-remote-user"] = "olga"
        assert client.post("/history/runs/r1/stop", data={"reason": "r"}).status_code == 403
        csrf = csrf_in(client.get("/history/runs/r1").text)
        assert client.post("/history/runs/r1/stop", data={"csrf": csrf, "reason": "r"}).status_code == 303


class TestBrokenSettings:
    @pytest.fixture
    def environ(self) -> dict[str, str]:
        return {"UPKEEP_PROXY_HEADER": "X-Remote-User", "UPKEEP_TRUSTED_PROXIES": "everywhere"}

    def test_proxies_that_cannot_be_read_are_refused_not_trusted(self, people: Tokens, visit: Visit) -> None:
        with pytest.raises(BadInput, match="UPKEEP_TRUSTED_PROXIES"):
            visit().get("/history", headers={"x-remote-user": "ada"})


def test_the_secret_is_made_once_for_all_processes_and_refused_when_others_can_read_it(site: Site) -> None:
    path = site.settings.home / "keys" / "session-key"
    first = kept_secret(path)
    assert (kept_secret(path), path.stat().st_mode & 0o777) == (first, 0o600)
    path.chmod(0o644)
    with pytest.raises(AuditError, match="chmod 600"):
        kept_secret(path)
