"""Archives brought before the window, by the relay, and not sent again by the change (issue 4: 6; U3, B5)."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

from tests.e2e.lab.controller import QUICK, Controller, documents, outcomes, tree_hash, versions
from upkeep.lab.lab import Lab

ONE_TIME = re.compile(rb"127\.0\.0\.1:\d+/[A-Za-z0-9_-]{40,}")
CLOSED = ("--set", "window={zone: UTC, rule: 'FREQ=YEARLY', start: '2020-01-01 00:00', duration: 1m}")


def test_a_release_is_brought_outside_the_window_and_the_change_sends_nothing_again(
    lab: Lab, controller: Controller
) -> None:
    before = {h: tree_hash(lab.paths.host(h).root / "usr") for h in versions(lab)}
    code, report = controller.json("run", "prestage", *documents(lab), *CLOSED)
    assert code == 4, report
    assert "delivery.prestage: any time" in report["reason"]
    any_time = (*CLOSED, "--set", "delivery.prestage=any time", "--set", "delivery.how=relay")
    code, report = controller.json("run", "prestage", *documents(lab), *any_time)
    assert (code, report["outcome"], set(outcomes(report).values())) == (0, "succeeded", {"prestaged"}), report
    assert "bytes by relay, checked by SHA-256" in report["hosts"]["h1"]["reason"]
    assert before == {h: tree_hash(lab.paths.host(h).root / "usr") for h in versions(lab)}
    parcels = list(lab.paths.directory.rglob("incoming/*.tar.gz"))
    assert len(parcels) == 4
    assert not any((parcel.parents[1] / "lock").exists() for parcel in parcels), "the hosts are free again"
    code, report = controller.run(lab, "--hosts", "h1", settings=(*QUICK, "delivery.how=push"))
    assert (code, outcomes(report)) == (0, {"h1": "committed"}), report
    assert resumed_at(controller, report["run"]) == [parcels[0].stat().st_size], (
        "the delivery began at the end of the file"
    )
    written = [path for path in (*controller.home.rglob("*"), *lab.paths.directory.rglob("*")) if path.is_file()]
    assert [path for path in written if ONE_TIME.search(path.read_bytes())] == []
    assert versions(lab) == {"h1": "1.5.0", "h2": "1.4.2", "h3": "1.4.2", "h4": "1.4.2"}


def resumed_at(controller: Controller, run: str) -> list[int]:
    with closing(sqlite3.connect(controller.home / "history.db")) as history:
        bodies = history.execute("select body from step_attempt where run = ? and step = 'fetch'", (run,))
        return [json.loads(body)["resumed_at_bytes"] for (body,) in bodies]
