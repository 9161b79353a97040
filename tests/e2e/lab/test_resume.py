"""`upkeep resume`: a controller killed anywhere, and a run that goes on from the hosts' truth (issue 3: 2; U7, R5; faults 28, 46, 47)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable

import pytest

from tests.e2e.lab.controller import QUICK, UPKEEP, Controller, documents, outcomes, versions
from upkeep.audit.history import History
from upkeep.domain.record import Happening
from upkeep.lab.lab import Lab

DONE_ONCE = {"backup", "fetch", "switch", "commit"}


def kill_when(
    controller: Controller,
    lab: Lab,
    wanted: Callable[[dict[str, str]], bool],
    how: int = signal.SIGKILL,
    changes: tuple[str, ...] = (),
) -> None:
    """Start a run and signal it at the first event of its log that is wanted; waits for its end."""
    settings = [part for text in (*QUICK, *changes) for part in ("--set", text)]
    words = [UPKEEP, "run", "maintenance", *documents(lab), *settings, "--json"]
    environment = {**controller.environment(), "UPKEEP_LOG": "json"}
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("{") and wanted(json.loads(line)):
                os.killpg(run.pid, how)
                break
        else:
            raise AssertionError("what was waited for never happened")
        run.stderr.read()


def at(action: str, happening: str) -> Callable[[dict[str, str]], bool]:
    return lambda event: (event.get("event"), event.get("happening")) == (action, happening)


@pytest.mark.parametrize(
    ("action", "happening"),
    [
        ("step.check", "ok"),
        ("step.backup", "ok"),
        ("step.switch", "intent"),
        ("step.verify", "intent"),
        ("step.commit", "ok"),
    ],
)
def test_a_run_whose_controller_was_killed_goes_on_and_repeats_no_step_that_finished(
    lab: Lab, controller: Controller, action: str, happening: str
) -> None:
    kill_when(controller, lab, at(action, happening))
    said = controller("status", "last").stdout
    assert "its process is gone" in said
    assert "upkeep resume" in said
    code, report = controller.json("resume", "last")
    assert (code, report["outcome"]) == (0, "succeeded"), report
    assert set(outcomes(report).values()) == {"committed"}
    assert {(r["from_version"], r["to_version"]) for r in report["hosts"].values()} == {("1.4.2", "1.5.0")}
    assert set(versions(lab).values()) == {"1.5.0"}
    history = History.open(f"sqlite:///{controller.home / 'history.db'}")
    finished = Counter((s.host, s.step) for s in history.steps(report["run"]) if s.happening is Happening.OK)
    assert [key for key, times in finished.items() if key[1] in DONE_ONCE and times > 1] == []
    assert {host for host, step in finished if step == "commit"} == set(versions(lab)) or action == "step.commit"
    history.close()
    assert controller("history", "verify").returncode == 0
    assert controller("resume", "last").returncode == 4


def test_a_run_that_is_still_conducted_cannot_be_taken_up(lab: Lab, controller: Controller) -> None:
    refused: list[subprocess.CompletedProcess[str]] = []

    def ask(event: dict[str, str]) -> bool:
        if at("step.verify", "intent")(event):
            refused.append(controller("resume", "last"))
        return bool(refused)

    kill_when(controller, lab, ask, changes=("healthy_time=30s", "healthy_deadline=1m"))
    assert refused[0].returncode == 4
    assert "is being conducted by a living process" in refused[0].stderr


def test_sigterm_puts_hosts_in_work_back_and_closes_the_run(lab: Lab, controller: Controller) -> None:
    kill_when(controller, lab, at("step.verify", "intent"), signal.SIGTERM, ("healthy_time=15s",))
    code, report = controller.json("status", "last")
    assert (code, report["outcome"]) == (0, "stopped"), report
    assert "cancelled" in report["reason"]
    assert set(outcomes(report).values()) == {"rolled back", "not started"}
    assert set(versions(lab).values()) == {"1.4.2"}
    code, report = controller.run(lab)
    assert (code, set(versions(lab).values())) == (0, {"1.5.0"}), report
