from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

import pytest

from upkeep.errors import ServiceError
from upkeep.lab.control_socket import ask, decoded, encoded
from upkeep.lab.processes import await_end, end_marked, marked
from upkeep.lab.systemctl import Answer


def start(mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["sleep", "60"], env={"UPKEEP_LAB": mark, "PATH": os.environ["PATH"]}, start_new_session=True
    )


def test_only_processes_with_the_labs_own_mark_are_ended() -> None:
    mine, other = uuid.uuid4().hex, uuid.uuid4().hex
    ours, theirs = start(mine), start(other)
    try:
        assert end_marked(mine) == 1
        assert marked(mine) == []
        assert theirs.poll() is None
    finally:
        for process in (ours, theirs):
            process.kill()
            process.wait()


def test_the_end_of_a_process_is_waited_for() -> None:
    process = start(uuid.uuid4().hex)
    assert not await_end(process.pid, 10)
    process.kill()
    assert await_end(process.pid)
    process.wait()
    assert await_end(process.pid)


@pytest.mark.parametrize("answer", [Answer(), Answer(3, "inactive\n"), Answer(1, "ü\n1 2\n", "a\nb\n")])
def test_an_answer_arrives_as_it_was_sent(answer: Answer) -> None:
    assert decoded(encoded(answer)) == answer


def test_a_lab_that_does_not_run_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="does not answer"):
        ask(tmp_path / "control.sock", ["", "nodes"])
    with pytest.raises(ServiceError, match="does not answer"):
        ask(tmp_path / "none" / "control.sock", ["", "nodes"])
