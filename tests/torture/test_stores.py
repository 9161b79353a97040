"""The history or the Prefect server goes away in the middle of a run (issue 3: 5; faults 48, 56)."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.lab.controller import QUICK, UPKEEP, Controller, documents, outcomes, versions
from tests.e2e.lab.served import until
from tests.e2e.prefect_server import shared_server
from upkeep.audit.history import History
from upkeep.domain.record import Happening
from upkeep.lab.lab import Lab

pytestmark = [pytest.mark.timeout(600)]


def started(controller: Controller, lab: Lab, *changes: str) -> subprocess.Popen[str]:
    settings = [part for text in (*QUICK, *changes) for part in ("--set", text)]
    words = [UPKEEP, "run", "maintenance", *documents(lab), *settings, "--json"]
    environment = {**controller.environment(), "UPKEEP_LOG": "json"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def read_until(run: subprocess.Popen[str], action: str, happening: str) -> None:
    assert run.stderr is not None
    for line in run.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if (event.get("event"), event.get("happening")) == (action, happening):
            return
    raise AssertionError(f"{action} never happened")


def test_a_history_that_is_locked_for_long_ends_the_run_before_the_next_step_and_it_can_be_resumed(
    lab: Lab, tmp_path: Path, prefect_server: dict[str, str]
) -> None:
    controller = Controller(tmp_path / "home", prefect_server)
    with started(controller, lab, "dead_man=40s") as run:
        read_until(run, "step.switch", "ok")
        with closing(sqlite3.connect(controller.home / "history.db", isolation_level=None)) as thief:
            thief.execute("BEGIN IMMEDIATE")
            assert run.stderr is not None
            said = run.stderr.read()
            assert run.wait() == 1
    assert "locked" in said
    assert "nothing is changed without it" in said
    assert "Traceback" not in said
    until(lambda: set(versions(lab).values()) == {"1.4.2"})
    history = History.open(f"sqlite:///{controller.home / 'history.db'}")
    last = history.run("last")
    assert "commit" not in {row.step for row in history.steps(last.id) if row.happening is Happening.OK}
    history.close()
    code, report = controller.json("resume", "last")
    assert (code, set(outcomes(report).values())) == (0, {"committed"}), report
    assert set(versions(lab).values()) == {"1.5.0"}
    assert controller("history", "verify").returncode == 0


def test_a_prefect_server_that_dies_in_the_middle_of_a_run_harms_no_host_and_the_run_can_be_finished(
    lab: Lab, tmp_path: Path, prefect_server: dict[str, str]
) -> None:
    folder = tmp_path / "own-server"
    with shared_server(folder) as own:
        controller = Controller(tmp_path / "home", own)
        with started(controller, lab) as run:
            read_until(run, "step.switch", "ok")
            os.kill(json.loads((folder / "state.json").read_text())["pid"], signal.SIGKILL)
            assert run.stderr is not None
            run.stderr.read()
    controller = Controller(tmp_path / "home", prefect_server)
    _, report = controller.json("status", "last")
    if report["outcome"] not in {"succeeded", "succeeded with exceptions"}:
        verb = "resume" if report["outcome"] == "controller died" else "retry"
        code, report = controller.json(verb, "last")
        assert code == 0, report
    assert set(versions(lab).values()) == {"1.5.0"}
    listed = json.loads(controller("history", "list", "--json").stdout)
    assert [entry["outcome"] for entry in listed if entry["outcome"] is None] == []
    assert controller("history", "verify").returncode == 0
