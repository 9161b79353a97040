"""URLs that one curl asks are answered as if each had been asked by itself (issues 4 and 7)."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import HttpProbe, VersionProbe
from upkeep.hosts.checks import agent, network
from upkeep.hosts.local import LocalTransport
from upkeep.hosts.question import Question, ask

ASKED: list[str] = []

Asked = Callable[..., list[Finding]]


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ASKED.append(self.path)
        self.send_response(404 if self.path == "/lost" else 200)
        self.end_headers()
        self.wfile.write(b"x" * 200_000 if self.path == "/long" else b"version 1.2.3")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def site() -> Iterator[str]:
    ASKED.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@pytest.fixture(params=["a change", "an inspection"])
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Asked:
    """Asks as each of the two does, with its own time limits; curls are counted in `curls`."""
    (tmp_path / "bin").mkdir()
    counting = tmp_path / "bin/curl"
    counting.write_text(f'#!/bin/sh\necho >>{tmp_path}/curls\nexec {shutil.which("curl")} "$@"\n')
    counting.chmod(0o755)
    path = f"{counting.parent}:{os.environ['PATH']}"
    transport = LocalTransport(env={"PATH": path, "HOME": str(tmp_path)})

    def asked_so(*questions: Question) -> list[Finding]:
        if request.param == "an inspection":
            questions = tuple(replace(one, plain=True, slow=False, soon=False, late=True) for one in questions)
        return ask(transport, questions)

    return asked_so


def version(url: str) -> Question:
    return agent.running(VersionProbe(url=url))


def health(url: str) -> Question:
    return network.http(HttpProbe(id="health", url=url, body="version", timeout=timedelta(seconds=1)))


def test_each_has_its_own_answer_and_is_asked_once(asked: Asked, site: str, tmp_path: Path) -> None:
    told = asked(version(f"{site}/version"), health(f"{site}/health"), version(f"{site}/again"))
    assert [one.verdict for one in told] == [Verdict.PASS] * 3
    assert "1.2.3" in told[0].reason
    assert "answers 200" in told[1].reason
    assert ASKED == ["/version", "/health", "/again"]
    assert (tmp_path / "curls").read_text() == "\n"


def test_one_that_hangs_takes_no_others_answer_away(asked: Asked, site: str, silent: str) -> None:
    told = asked(version(f"{site}/version"), health(silent), version(f"{site}/again"))
    assert [one.verdict for one in told] == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]
    assert "timeout" in told[1].reason


def test_one_that_refuses_is_told_as_when_it_is_asked_by_itself(asked: Asked, site: str) -> None:
    refused = health("http://127.0.0.1:9/")
    alone = asked(refused)
    assert asked(refused, version(f"{site}/version"))[0].reason == alone[0].reason
    assert "refused" in alone[0].reason


def test_an_error_page_and_a_long_page_are_judged_as_they_are(asked: Asked, site: str) -> None:
    told = asked(version(f"{site}/long"), health(f"{site}/lost"), version(f"{site}/version"))
    assert told[0].verdict is Verdict.UNKNOWN
    assert "answers 404" in told[1].reason
    assert "1.2.3" in told[2].reason


def test_options_of_the_hosts_own_hold_for_every_url(asked: Asked, site: str, tmp_path: Path) -> None:
    (tmp_path / ".curlrc").write_text("proxy = http://127.0.0.1:9\n")
    told = asked(version(f"{site}/version"), health(f"{site}/health"))
    assert [one.verdict for one in told] == [Verdict.UNKNOWN, Verdict.FAIL]
    assert not ASKED
