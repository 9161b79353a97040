"""Stopping the worker: it takes nothing new, and ends when its flow processes have (issue 5: 1; fault 46)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deployments.worker import flow_processes, work

WORKER = """
import signal, subprocess, sys, threading
flow = [sys.executable, '-c', 'import sys; sys.stdin.read(); open(sys.argv[2], "w").close()', 'prefect.engine', sys.argv[1]]
child = subprocess.Popen(flow, stdin=0)
def stop(*_):
    child.poll()
    open(sys.argv[2], 'w').write('flow ended' if child.returncode == 0 else 'flow still runs')
    child.kill()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print('ready', flush=True)
threading.Event().wait(60)
"""


class Stopped:
    """A worker with one flow process that ends when `finish` is called, and somebody who waits for the worker."""

    def __init__(self, folder: Path) -> None:
        self.finished, self.said = folder / "finished", folder / "said"
        self.worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(self.finished), str(self.said)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.worker.stdout is not None
        assert self.worker.stdout.readline() == b"ready\n"
        self.told, self._tell = os.pipe()
        self.code: int | None = None
        self._waiting = threading.Thread(target=self._work, daemon=True)
        self._waiting.start()

    def _work(self) -> None:
        self.code = work(self.worker, self.told)

    def signal(self) -> None:
        os.write(self._tell, b"x")

    def until_frozen(self) -> None:
        for _ in range(6000):
            if Path(f"/proc/{self.worker.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
                return
            threading.Event().wait(0.01)
        pytest.fail("the worker was not frozen")

    def finish(self) -> None:
        assert self.worker.stdin is not None
        self.worker.stdin.close()

    def ended(self) -> int | None:
        self._waiting.join(60)
        return self.code

    def close(self) -> None:
        self.worker.kill()
        self.worker.wait()


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Stopped]:
    with ExitStack() as stack:
        made = Stopped(tmp_path)
        stack.callback(made.close)
        yield made


def test_a_worker_that_is_told_to_stop_is_frozen_until_its_flow_process_has_ended(stopped: Stopped) -> None:
    assert len(flow_processes(stopped.worker.pid)) == 1
    stopped.signal()
    stopped.until_frozen()
    assert not stopped.said.exists()
    stopped.finish()
    assert stopped.ended() == 0
    assert stopped.finished.exists()
    assert stopped.said.read_text() == "flow ended"


def test_a_second_signal_ends_worker_and_flow_process_at_once(stopped: Stopped) -> None:
    stopped.signal()
    stopped.until_frozen()
    stopped.signal()
    assert stopped.ended() == 0
    assert stopped.said.read_text() == "flow still runs"
    assert not stopped.finished.exists()


def test_a_worker_that_ends_by_itself_is_not_waited_for(stopped: Stopped) -> None:
    stopped.worker.send_signal(signal.SIGKILL)
    assert stopped.ended() == -signal.SIGKILL
