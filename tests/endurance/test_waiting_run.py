"""A run waits for people while everything that conducted it is killed, and goes on by itself once it is approved (issue 5: 5; R4; faults 44, 48)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.lab.controller import UPKEEP, Controller, versions
from tests.e2e.lab.served import Served, request_for, until
from tests.torture.test_approvals import add, locks
from upkeep.audit.approvals import waits_for
from upkeep.domain.change import RunOutcome
from upkeep.lab.lab import Lab
from upkeep.process import lives

pytestmark = pytest.mark.timeout(900)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def descendants(pid: int) -> set[int]:
    """The process and all that it started, their children included."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@contextlib.contextmanager
def up(controller: Controller, port: int, web: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`upkeep up`, killed with all that it started at the end."""
    pages = ["--pages-port", str(web)] if "--pages-port" in controller("up", "--help").stdout else []
    words = [UPKEEP, "up", "--port", str(port), *pages]
    with log.open("ab") as file:
        process = subprocess.Popen(words, env=controller.environment(), stdout=file, stderr=file, cwd="/")
    try:
        yield process
    finally:
        for pid in descendants(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def test_a_stage_waits_through_a_kill_of_everything_and_is_taken_up_when_two_others_approved(
    lab: Lab, tmp_path: Path
) -> None:
    controller, log = Controller(tmp_path / "home"), tmp_path / "up.log"
    controller.home.mkdir()
    port, web = free_port(), free_port()
    served = Served(controller, f"http://127.0.0.1:{port}/api")
    with up(controller, port, web, log):
        request = request_for(lab, approvals="{stage: 50%, needed: 2}") | {"requested_by": "ann"}
        flow_run = served.start(request)
        assert served.when(flow_run, "PAUSED")["state"]["name"] == "Suspended"
        until(lambda: lives(served.run_of(flow_run).process) is False)
    run = served.run_of(flow_run)
    assert run.outcome is None
    assert sorted(versions(lab).values()) == ["1.4.2"] * 3 + ["1.5.0"]
    assert locks(lab) == []
    ann, bob, cat = (add(controller, name, "approver") for name in ("ann", "bob", "cat"))
    refused = ann("approve", run.id)
    assert (refused.returncode, "ann asked for this run" in refused.stderr) == (4, True), refused.stderr
    assert bob("approve", run.id).returncode == 0
    with up(controller, port, web, log):
        done = cat("approve", run.id)
        assert (done.returncode, "that is enough" in done.stdout) == (0, True), done.stderr
        until(lambda: served.run_of(flow_run).outcome is not None)
        assert served.run_of(flow_run).outcome is RunOutcome.SUCCEEDED, log.read_text()[-4000:]
        assert served.when(flow_run, "COMPLETED")
    assert set(versions(lab).values()) == {"1.5.0"}
    history = served.history
    actions = [event.action for event in history.events(run.id)]
    assert (actions.count("approval.requested"), actions.count("run.resumed"), actions.count("run.orphaned")) == (
        1,
        1,
        0,
    )
    assert waits_for(history, run.id) is None
    assert history.verify().ok
    history.close()
