"""What one HTTP question may cost, whatever the server does."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.services.site import Site
from upkeep.errors import BadInput, ServiceError
from upkeep.services.web import Answer, Limits, get, public

QUICK = Limits(
    connect=timedelta(seconds=0.2), idle=timedelta(seconds=0.2), total=timedelta(seconds=0.3), body_bytes=1000
)


def test_an_answer_of_any_status_is_an_answer(site: Site) -> None:
    site.serve("/down", b"maintenance", 503)
    answer = get(f"{site.url}/down")
    assert (answer.status, answer.body) == (503, b"maintenance")


def test_an_endless_body_is_cut_off_at_the_limit(site: Site) -> None:
    site.drip("/endless", stated_length=10**9, piece=b"x" * 400, every=0.001)
    with pytest.raises(ServiceError, match="larger than 1000 bytes"):
        get(f"{site.url}/endless", limits=QUICK)


@pytest.mark.parametrize("how", ["drip", "drip_head"])
def test_a_server_that_drips_forever_is_left_after_the_total_time(site: Site, how: str) -> None:
    if how == "drip":
        site.drip("/slow", stated_length=900)
    else:
        site.drip_head("/slow")
    began = time.monotonic()
    with pytest.raises(ServiceError, match="no complete answer"):
        get(f"{site.url}/slow", limits=QUICK)
    assert time.monotonic() - began < 2


def test_a_silent_server_is_told_apart_from_a_refusal(site: Site) -> None:
    site.answers["/silent"] = lambda _: (site.closing.wait(5), None)[1]
    with pytest.raises(ServiceError, match=r"silent for too long|no complete answer"):
        get(f"{site.url}/silent", limits=QUICK)
    with pytest.raises(ServiceError, match=r"(?i)refused|failed"):
        get("http://127.0.0.1:1/")


def test_three_redirects_are_followed_and_no_more(site: Site) -> None:
    site.serve("/0", b"here")
    for n in range(1, 5):
        site.redirect(f"/{n}", f"/{n - 1}")
    assert get(f"{site.url}/3").body == b"here"
    with pytest.raises(ServiceError, match="more than 3 redirects"):
        get(f"{site.url}/4")


def test_https_is_never_left_for_http(site: Site, secure_site: Site, certificate: Path) -> None:
    site.serve("/", b"in the clear")
    secure_site.serve("/plain", b"sealed")
    secure_site.redirect("/down", f"{site.url}/")
    site.redirect("/up", f"{secure_site.url}/plain")
    assert get(f"{site.url}/up", ca=certificate).body == b"sealed"
    with pytest.raises(ServiceError, match="from https to http"):
        get(f"{secure_site.url}/down", ca=certificate)
    assert not [path for path, _ in site.asked if path == "/"]


def test_a_redirect_to_another_kind_of_address_is_refused(site: Site) -> None:
    site.redirect("/file", "file:///etc/passwd")
    with pytest.raises(ServiceError):
        get(f"{site.url}/file")


def test_a_certificate_nobody_vouches_for_is_refused(secure_site: Site) -> None:
    with pytest.raises(ServiceError, match=r"(?i)certificate"):
        get(f"{secure_site.url}/")


def test_a_bad_ca_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(BadInput, match=name):
            get("https://127.0.0.1:1/", ca=tmp_path / name)


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://\n/", "gopher://x/", "http://127.0.0.1:99999/", "http:///x", ""]
)
def test_addresses_that_cannot_be_asked_are_plain_errors(url: str) -> None:
    with pytest.raises(ServiceError):
        get(url, limits=QUICK)


def test_passwords_in_addresses_and_tokens_in_headers_stay_out_of_messages(site: Site) -> None:
    host = site.url.removeprefix("http://")
    site.redirect("/a", "/a")
    for url, headers in [
        (f"http://ops:hunter2@{host}/a?key=hunter2", {}),
        (f"http://{host}/", {"Authorization": "Bearer hunter2\n"}),
        (f"http://{host}/", {"Authorization": "Bearer hunter2é"}),
    ]:
        with pytest.raises(ServiceError) as caught:
            get(url, headers=headers)
        assert "hunter2" not in str(caught.value)
    assert public("https://u:p@[::1]:8443/x?q=1#f") == "https://[::1]:8443/x"


def test_it_also_works_where_an_event_loop_is_already_running(site: Site) -> None:
    site.serve("/", b"ok")

    async def inside() -> Answer:
        return get(f"{site.url}/")  # Prefect calls synchronous steps from async flows

    assert asyncio.run(inside()).body == b"ok"

    async def failing() -> Answer:
        return get("http://127.0.0.1:1/")

    with pytest.raises(ServiceError):
        asyncio.run(failing())
