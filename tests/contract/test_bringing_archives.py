"""An archive comes to a host by each way, over links that break, and falls back only where the plan leaves the choice (issue 4: 6; faults 19)."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from tasks.deliver_release import bring
from tasks.deliveries import Archive, Deliveries
from tests.contract.conftest import Sshd
from tests.integration.transaction.machine import Machine, build, end_processes
from upkeep.domain.delivery import listen_address
from upkeep.domain.finding import Finding
from upkeep.domain.plan import Plan
from upkeep.domain.release import Artifact
from upkeep.errors import ArtifactError, ChecksumMismatch
from upkeep.hosts.host_change import HostChange, Order
from upkeep.hosts.local import LocalTransport
from upkeep.services.relay import Relay

CONTENT = os.urandom(2_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Controller:
    """What `bring` needs of a run: one host, one archive, a relay at hand."""

    def __init__(self, machine: Machine, folder: Path, transport: Any, **delivery: Any) -> None:
        self.path = folder / "archive"
        self.path.write_bytes(CONTENT)
        self.door: Callable[[str], str] = lambda address: address
        self.relays: list[Relay] = []
        self.found: list[Finding] = []
        self.change = HostChange(transport, machine.profile, become=False)
        plan = Plan.model_validate({"name": "p", "profile": "x", "release": "r", "delivery": delivery})
        artifact = Artifact(arch="amd64", url="a.tar.gz", size_bytes=len(CONTENT), sha256=SHA256)
        self.archive = Archive(artifact, self.path, plan.delivery.url or "")
        history = SimpleNamespace(findings=lambda _run, _host, _phase, findings: self.found.extend(findings))
        self.session: Any = SimpleNamespace(
            archive_by_hash=lambda _sha256: self.archive,
            deliveries=Deliveries(plan, 1000, self),  # type: ignore[arg-type]
            history=history,
            record=SimpleNamespace(id="run-1"),
            cancelled="",
            pause=lambda seconds: time.sleep(min(seconds, 0.2)),
        )
        self.order: Order = machine.locked(artifact_sha256=SHA256, artifact_size_bytes=len(CONTENT))
        self.part = machine.upkeep / "incoming" / f"{SHA256}.part"
        self.whole = machine.upkeep / "incoming" / f"{SHA256}.tar.gz"

    def relay_address(self, delivery: Any) -> str:
        return str(delivery.relay)

    def relay(self, delivery: Any) -> Relay:
        self.relays.append(Relay(*listen_address(delivery.relay)))
        self.relays[-1].address = self.door(self.relays[-1].address)
        return self.relays[-1]

    def bring(self) -> dict[str, Any]:
        step = SimpleNamespace(body={})
        work = SimpleNamespace(host=SimpleNamespace(name="h1"), change=self.change)
        bring(self.session, work, self.order, step)  # type: ignore[arg-type]
        assert self.whole.read_bytes() == CONTENT
        return step.body


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    host = build(tmp_path / "host")
    yield host
    end_processes(host)


@pytest.fixture
def make(machine: Machine, tmp_path: Path) -> Iterator[Callable[..., Controller]]:
    made: list[Controller] = []

    def controller(transport: Any = None, **delivery: Any) -> Controller:
        made.append(Controller(machine, tmp_path, transport or LocalTransport("h1"), **delivery))
        return made[-1]

    yield controller
    for one in made:
        one.session.deliveries.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The release's own address."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "archive").write_bytes(CONTENT)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/archive"
        server.shutdown()


class Cutting:
    """A door before an address that lets so many bytes of each of the first connections through."""

    def __init__(self, *sizes: int) -> None:
        self.sizes, self.opened = list(sizes), 0
        self.door = socket.create_server(("127.0.0.1", 0))

    def before(self, address: str) -> str:
        far = urlsplit(f"//{address}")
        threading.Thread(target=self._serve, args=((far.hostname, far.port),), daemon=True).start()
        return f"127.0.0.1:{self.door.getsockname()[1]}"

    def _serve(self, address: tuple[str, int]) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.door.accept()
                self.opened += 1
                left = self.sizes.pop(0) if self.sizes else len(CONTENT) * 2
                with suppress(OSError), near, socket.create_connection(address) as far:
                    far.sendall(near.recv(65_536))
                    while left and (piece := far.recv(min(left, 65_536))):
                        near.sendall(piece)
                        left -= len(piece)


def test_each_way_brings_the_archive_and_what_is_there_is_not_sent_again(make, site: str) -> None:
    for delivery in ({"how": "push"}, {"how": "relay"}, {"how": "site", "url": site}):
        controller = make(**delivery)
        body = controller.bring()
        assert (body["way"], body["tries"]) == (delivery["how"], 1)
        controller.path.write_bytes(b"the controller's copy is not needed any more")
        controller.bring()
        controller.whole.unlink()


def test_a_pull_that_breaks_twice_goes_on_by_itself_where_it_broke(make) -> None:
    controller, cutting = make(how="relay"), Cutting(700_000, 500_000)
    controller.door = cutting.before
    assert controller.bring()["tries"] == 3
    assert cutting.opened == 3
    assert controller.found == []


def test_where_the_plan_leaves_the_choice_a_host_that_cannot_pull_is_pushed_to_and_the_finding_says_why(
    make, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            if program.name not in {"curl", "wget"} and not (tools / program.name).exists():
                (tools / program.name).symlink_to(program)
    without = LocalTransport("h1", env={"PATH": str(tools)})
    controller = make(without, how="auto", relay="127.0.0.1")
    body = controller.bring()
    assert (body["way"], body["instead_of"]) == ("push", "relay")
    [finding] = controller.found
    assert (finding.check, finding.subject, finding.verdict) == ("delivery.way", "relay", "warn")
    assert "neither curl nor wget" in finding.reason
    assert "install curl" in finding.remedy
    controller.whole.unlink()
    strict = make(without, how="relay")
    with pytest.raises(ArtifactError, match="neither curl nor wget"):
        strict.bring()


def test_a_push_takes_over_what_a_pull_that_kept_breaking_has_brought(make) -> None:
    controller, cutting = make(how="auto", relay="127.0.0.1"), Cutting(300_000, 300_000, 300_000, 300_000)
    controller.door = cutting.before
    body = controller.bring()
    assert (body["way"], body["instead_of"]) == ("push", "relay")
    assert body["resumed_at_bytes"] > 1_000_000
    assert "the download on the host failed after" in controller.found[0].reason


def test_a_site_that_gives_out_another_file_is_an_error_and_never_papered_over_by_a_push(
    make, site: str, tmp_path: Path
) -> None:
    (tmp_path / "site" / "archive").write_bytes(os.urandom(len(CONTENT)))
    controller = make(how="auto", url=site)
    with pytest.raises(ChecksumMismatch):
        controller.bring()
    assert not controller.whole.exists()
    assert not controller.part.exists()


def test_the_limits_hold_for_every_way(make, site: str) -> None:
    for delivery in ({"how": "push"}, {"how": "relay"}, {"how": "relay", "total_mbit": 32}):
        controller = make(**{"per_host_mbit": 16, **delivery})
        began = time.monotonic()
        controller.bring()
        assert time.monotonic() - began > 0.9, delivery
        controller.whole.unlink()


@pytest.mark.sshd
def test_a_push_whose_connection_breaks_goes_on_where_it_broke(make, machine: Machine, start_sshd, connect) -> None:
    server: Sshd = start_sshd()
    controller = make(connect(server.target()), how="push", per_host_mbit=16)
    broken = threading.Event()

    def cut_in_the_middle() -> None:
        while not broken.is_set():
            if controller.part.exists() and controller.part.stat().st_size > 500_000:
                server.cut()
                broken.set()
            time.sleep(0.01)

    cutter = threading.Thread(target=cut_in_the_middle)
    cutter.start()
    try:
        body = controller.bring()
    finally:
        broken.set()
        cutter.join()
    assert body["tries"] > 1
    assert body["resumed_at_bytes"] > 500_000
