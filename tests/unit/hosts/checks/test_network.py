"""Ways to others, asked with real tools on this machine: refused, timeout, 407, captive portal and slowness are told apart (U6; fault 13)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import CommandProbe, DnsProbe, HttpProbe, TcpProbe
from upkeep.hosts.checks import network
from upkeep.hosts.local import LocalTransport
from upkeep.hosts.question import Question, ask


def asked(question: Question) -> Finding:
    return ask(LocalTransport(), [question])[0]


@contextmanager
def server(status: int = 200, body: bytes = b'{"status": "UP"}', wait_seconds: float = 0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            threading.Event().wait(wait_seconds)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_CONNECT = do_GET  # noqa: N815 - named by http.server

        def log_message(self, *_words: object) -> None:
            """Quiet."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def silent_port() -> Iterator[int]:
    """Takes connections in the kernel and never answers."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(1)
        yield sock.getsockname()[1]


def http(url: str, **changes: object) -> Finding:
    return asked(network.http(HttpProbe.model_validate({"id": "x", "url": url, "timeout": "2s", **changes})))


def test_a_url_that_answers_as_it_should_passes_with_its_latency() -> None:
    with server() as address:
        finding = http(f"http://{address}/", body='"UP"', latency="2s")
    assert finding.verdict is Verdict.PASS
    assert finding.check == "net.http.x"
    assert finding.value is not None
    assert 0 < finding.value < 2


@pytest.mark.parametrize(
    ("options", "changes", "said"),
    [
        ({"status": 503}, {}, "answers 503, it should be 200"),
        ({"body": b"<!DOCTYPE html><p>Please log in"}, {"body": "UP"}, "captive portal"),
        ({"body": b"down"}, {"body": "UP"}, "something else"),
        ({"wait_seconds": 0.4}, {"latency": "100ms"}, "at most 100 ms"),
        ({"wait_seconds": 4}, {"timeout": "1s"}, "timeout"),
    ],
)
def test_an_answer_that_is_not_right_says_what_it_is(
    options: dict[str, object], changes: dict[str, object], said: str
) -> None:
    with server(**options) as address:  # type: ignore[arg-type]
        finding = http(f"http://{address}/", **changes)
    assert finding.verdict is Verdict.FAIL
    assert said in finding.reason
    assert finding.remedy


def test_a_refusal_and_an_unknown_name_are_told_apart() -> None:
    assert "refused" in http(f"http://127.0.0.1:{closed_port()}/").reason
    assert "does not resolve" in http("http://nowhere.invalid/").reason


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login_is_not_mistaken_for_the_target(scheme: str) -> None:
    with server(status=407) as proxy:
        finding = http(f"{scheme}://target.invalid/", proxy=f"http://{proxy}")
    assert "407" in finding.reason
    assert "credentials" in finding.remedy


def test_a_proxy_that_is_not_there_is_refused() -> None:
    assert "refused" in http("http://target.invalid/", proxy=f"http://127.0.0.1:{closed_port()}").reason


def tcp(port: int, address: str = "127.0.0.1") -> Finding:
    return asked(network.tcp(TcpProbe(id="x", address=address, port=port, timeout=timedelta(seconds=1))))


def test_tcp_tells_open_refused_and_unresolved_apart() -> None:
    with silent_port() as port:
        assert tcp(port).verdict is Verdict.PASS
    assert "refused" in tcp(closed_port()).reason
    assert "does not resolve" in tcp(80, "nowhere.invalid").reason


def test_dns_compares_with_what_should_come_back() -> None:
    def dns(name: str, *expect: str) -> Finding:
        return asked(network.dns(DnsProbe(id="x", name=name, expect=expect)))

    assert dns("localhost").verdict is Verdict.PASS
    assert dns("localhost", "127.0.0.1", "::1").verdict is Verdict.PASS
    assert "not to 192.0.2.1" in dns("localhost", "192.0.2.1").reason
    assert dns("nowhere.invalid").verdict is Verdict.FAIL


def test_a_command_of_the_sites_own_is_judged_by_code_and_pattern() -> None:
    def command(*words: str, pattern: str | None = None) -> Finding:
        return asked(network.command(CommandProbe(id="queue", command=words, pattern=pattern)))

    assert command("echo", "42 messages", pattern=r"\d+ messages").verdict is Verdict.PASS
    assert command("echo", "gone", pattern=r"\d+ messages").verdict is Verdict.FAIL
    assert command("false").verdict is Verdict.FAIL
    assert command("no-such-program").verdict is Verdict.UNKNOWN


def test_what_a_probe_names_is_never_run_by_the_shell(tmp_path: object) -> None:
    finding = http(
        f"http://127.0.0.1:{closed_port()}/$(touch${{IFS}}{tmp_path}/evil)`touch {tmp_path}/evil`';touch {tmp_path}/evil'"
    )
    assert finding.verdict is not Verdict.PASS
    assert not list(__import__("pathlib").Path(str(tmp_path)).iterdir())
