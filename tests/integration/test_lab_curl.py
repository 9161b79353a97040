from __future__ import annotations

import http.server
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from upkeep.lab.certificates import new_server_identity

CURL = [sys.executable, "-IS", str(Path(str(resources.files("upkeep.lab.stand_ins"))) / "curl.py")]
BODY = bytes(range(256)) * 20


RELEASED = threading.Event()


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body, headers = 200, BODY, {}
        if self.path == "/missing":
            status = 404
        elif self.path == "/moved":
            status, headers = 302, {"Location": "/body"}
        elif self.path == "/cut":
            headers = {"Content-Length": str(len(BODY) * 2)}
        elif self.path == "/hangs":
            RELEASED.wait(10)
        elif "Range" in self.headers and self.path == "/body":
            status, body = 206, BODY[int(self.headers["Range"][6:-1]) :]
        elif self.path.startswith("http://"):
            status = 407
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.send_error(407)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        RELEASED.set()
        made.shutdown()


def curl(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*CURL, *words], capture_output=True, check=False, timeout=20)


def test_a_page_goes_to_standard_output_followed_by_what_was_asked_to_be_written(server: str) -> None:
    done = curl("-sS", "-m5", "-w", "\\n%{http_code} %{size_download}", f"{server}/body")
    assert (done.returncode, done.stdout) == (0, BODY + b"\n200 5120")


def test_redirects_are_followed_when_asked(server: str) -> None:
    assert curl("-s", "-o/dev/null", "-w", "%{http_code}", f"{server}/moved").stdout == b"302"
    assert curl("-sL", "-o", "/dev/null", "-w", "%{http_code}", f"{server}/moved").stdout == b"200"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-f", "{}/missing"], 22),
        (["{}/missing"], 0),
        (["{}/cut"], 18),
        (["-m", "0.3", "{}/hangs"], 28),
        (["http://127.0.0.1:1/"], 7),
        (["http://nowhere.invalid/"], 6),
        (["-x", "{}", "https://127.0.0.1:9/"], 56),
        (["--frob", "{}/body"], 2),
        ([], 2),
    ],
)
def test_failures_have_curls_exit_codes(server: str, words: list[str], code: int) -> None:
    done = curl("-s", "-S", "-o", "/dev/null", *(word.format(server) for word in words))
    assert done.returncode == code
    assert bool(done.stderr) == bool(code)


def test_a_proxy_that_wants_a_password_is_told_apart(server: str) -> None:
    assert curl("-s", "-o/dev/null", "-w", "%{http_code}", "-x", server, "http://somewhere.invalid/").stdout == b"407"
    assert curl("-s", "-w", "%{http_connect}", "-x", server, "https://127.0.0.1:9/").stdout == b"407"


def test_a_partial_download_is_continued(server: str, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(BODY[:1000])
    assert curl("-sf", "-C", "-", "-o", str(part), f"{server}/body").returncode == 0
    assert part.read_bytes() == BODY


def test_continuing_is_refused_where_the_server_cannot(server: str, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"x")
    assert curl("-s", "-C", "-", "-o", str(part), f"{server}/other").returncode == 33
    assert part.read_bytes() == b"x"


def test_the_rate_is_limited(server: str) -> None:
    done = curl("-s", "--limit-rate", "10k", "-o", "/dev/null", "-w", "%{time_total}", f"{server}/body")
    assert float(done.stdout) > 0.4


def test_certificates_are_checked_against_the_authority_given(tmp_path: Path) -> None:
    identity = new_server_identity()
    for name, content in (("chain", identity.chain), ("key", identity.key), ("ca", identity.authority)):
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as made:
        made.socket = context.wrap_socket(made.socket, server_side=True)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{made.server_port}/body"
        assert curl("-s", url).returncode == 60
        assert curl("-s", "--cacert", str(tmp_path / "ca"), url).stdout == BODY
        assert curl("-sk", url).stdout == BODY
        made.shutdown()
