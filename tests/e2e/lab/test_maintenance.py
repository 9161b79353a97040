"""The whole change on real processes over real SSH, without root (issue 2: 4, 6, 7, 8, 9, 10, "Shown by"; U3 U5 U7 U9 U11 B2 R1 R5)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.e2e.lab.controller import QUICK, UPKEEP, Controller, documents, outcomes, tree_hash, versions
from upkeep.audit.history import History
from upkeep.lab.lab import Lab


def test_a_healthy_fleet_goes_to_the_new_version_and_a_second_run_leaves_it_alone(
    lab: Lab, controller: Controller
) -> None:
    code, report = controller.run(lab)
    assert (code, report["outcome"]) == (0, "succeeded"), report
    assert set(outcomes(report).values()) == {"committed"}
    assert set(versions(lab).values()) == {"1.5.0"}
    assert all(host.version == "1.5.0" and host.online for host in lab.status())
    assert [stage["verdict"] for stage in report["stages"]] == ["go"] * len(report["stages"])
    row = report["hosts"]["h1"]
    assert (row["from_version"], row["to_version"], row["failure_class"], row["reason"]) == ("1.4.2", "1.5.0", None, "")
    before = {h: tree_hash(lab.paths.host(h).root / "usr") for h in versions(lab)}
    code, report = controller.run(lab)
    assert (code, set(outcomes(report).values())) == (0, {"already current"})
    assert before == {h: tree_hash(lab.paths.host(h).root / "usr") for h in versions(lab)}


def test_a_host_that_breaks_goes_back_by_itself_and_the_rest_are_committed(lab: Lab, controller: Controller) -> None:
    lab.break_("h4", "crash-loop")
    config = lab.paths.host("h4").config.read_bytes()
    code, report = controller.run(lab)
    assert (code, report["outcome"]) == (0, "succeeded with exceptions"), report
    assert outcomes(report) == {"h1": "committed", "h2": "committed", "h3": "committed", "h4": "rolled back"}
    assert versions(lab)["h4"] == "1.4.2"
    assert lab.paths.host("h4").config.read_bytes() == config
    assert report["hosts"]["h4"]["reason"]
    assert controller("status", "last").returncode == 0
    shown = controller("history", "show", "last", "--host", "h4").stdout
    assert "rollback" in shown
    assert "rolled back" in shown
    assert controller("history", "verify").returncode == 0


@pytest.mark.parametrize(
    ("fault", "failure_class"),
    [
        ("config-rejected", {"apply"}),
        ("wrong-version", {"verify"}),
        ("not-registering", {"verify"}),
        ("error-flood", {"verify", "regress"}),
    ],
)
def test_a_bad_release_stops_in_the_canary_and_no_host_keeps_it(
    lab: Lab, controller: Controller, fault: str, failure_class: set[str]
) -> None:
    for host in ("h1", "h2", "h3", "h4"):
        lab.break_(host, fault)
    code, report = controller.run(lab)
    assert code in {1, 3}, report
    assert report["outcome"] in {"rolled back", "stopped"}
    touched = [result for result in report["hosts"].values() if result["outcome"] != "not started"]
    assert len(touched) == 1, "only the first canary host was tried"
    assert touched[0]["failure_class"] in failure_class, touched
    assert set(versions(lab).values()) == {"1.4.2"}


def test_hosts_that_cannot_be_changed_are_left_out_and_retry_finishes_exactly_those(
    lab: Lab, controller: Controller
) -> None:
    lab.break_("h2", "disk-full")
    lab.break_("h3", "unreachable")
    code, report = controller.run(lab, "--hosts", "h1,h2,h3,h4", settings=(*QUICK, "down_budget_pct=75"))
    assert outcomes(report) == {"h1": "committed", "h2": "blocked", "h3": "set aside", "h4": "committed"}, report
    assert (code, report["outcome"]) == (0, "succeeded with exceptions")
    assert report["hosts"]["h2"]["failure_class"] == "environment"
    assert report["hosts"]["h2"]["remedy"]
    assert report["hosts"]["h3"]["failure_class"] == "unreachable"
    lab.heal("h2")
    lab.heal("h3")
    code, again = controller.json("retry", report["run"])
    assert (code, outcomes(again)) == (0, {"h2": "committed", "h3": "committed"}), again
    assert set(versions(lab).values()) == {"1.5.0"}
    history = History.open(f"sqlite:///{controller.home / 'history.db'}")
    for run in (report["run"], again["run"]):
        record = history.run(run).record
        assert (record.settings["soak.canary"], record.hosts) == ("1s", "h1,h2,h3,h4")
        assert record.recomputed_hash() == record.plan_hash
    history.close()
    shown = controller("history", "show", again["run"], "--host", "h2").stdout
    assert "soak.canary=1s" in shown
    figures = [line for line in shown.splitlines() if line.startswith("metric.")]
    names = [line.split()[0] for line in figures]
    assert len(names) == len(set(names)) > 0, shown


def test_a_run_is_undone_by_hand_with_binary_and_configuration_as_they_were(lab: Lab, controller: Controller) -> None:
    before = {name: tree_hash(lab.paths.host(name).root / "etc") for name in versions(lab)}
    _, report = controller.run(lab)
    lab.paths.host("h1").config.chmod(0o600)
    code, undone = controller.json("rollback", report["run"], "--reason", "the vendor recalled 1.5.0")
    assert (code, undone["outcome"]) == (0, "succeeded"), undone
    assert set(outcomes(undone).values()) == {"rolled back"}
    assert set(versions(lab).values()) == {"1.4.2"}
    assert {name: tree_hash(lab.paths.host(name).root / "etc") for name in before} == before
    code, refused = controller.json("rollback", undone["run"], "--reason", "once more")
    assert code == 4
    assert "left no host to undo" in refused["reason"]


def test_a_dry_run_changes_nothing_on_any_host(lab: Lab, controller: Controller) -> None:
    before = {name: tree_hash(lab.paths.host(name).directory, without=("journal", "root")) for name in versions(lab)}
    roots = {name: tree_hash(lab.paths.host(name).root) for name in before}
    code, report = controller.run(lab, "--dry-run")
    assert (code, set(outcomes(report).values())) == (0, {"not started"}), report
    assert before == {name: tree_hash(lab.paths.host(name).directory, without=("journal", "root")) for name in before}
    assert roots == {name: tree_hash(lab.paths.host(name).root) for name in before}


def test_a_trigger_that_fires_while_a_stage_is_watched_takes_every_host_back(lab: Lab, controller: Controller) -> None:
    import httpx

    figure = f"http://127.0.0.1:{lab.spec.figures_port}/v1/figures/replication_lag_seconds"
    httpx.put(figure, json={"value": 90}).raise_for_status()
    plan = lab.plan_path.with_name("plan-with-triggers.yaml")
    settings = [part for text in QUICK for part in ("--set", text)]
    code, report = controller.json("run", "maintenance", "-i", str(lab.inventory_path), "-p", str(plan), *settings)
    assert (code, report["outcome"]) == (3, "rolled back"), report
    assert "replication lag over 30 s" in report["reason"]
    assert set(versions(lab).values()) == {"1.4.2"}


def test_the_other_runbooks_check_back_up_and_verify_without_changing_the_agent(
    lab: Lab, controller: Controller
) -> None:
    code, report = controller.run(lab, runbook="pre_update_check")
    assert (code, set(outcomes(report).values())) == (0, {"passed"}), report
    code, report = controller.run(lab, runbook="backup")
    assert (code, set(outcomes(report).values())) == (0, {"backed up"}), report
    listed = json.loads(controller("backups", "list", report["run"], "--json").stdout)
    assert sorted(backup["host"] for backup in listed) == ["h1", "h2", "h3", "h4"]
    opened = controller.home / "h1.tar.gz"
    assert controller("backups", "open", report["run"], "h1", "--out", str(opened)).returncode == 0
    listing = subprocess.run(["tar", "-tzf", opened], capture_output=True, text=True, check=True).stdout
    assert "etc/mcp/agent.yaml" in listing
    code, report = controller.run(lab, runbook="verification")
    assert (code, set(outcomes(report).values())) == (1, {"failed"}), "1.4.2 is not what the plan names"


def test_a_controller_killed_between_switch_and_commit_leaves_a_host_that_goes_back_by_itself(
    lab: Lab, controller: Controller
) -> None:
    settings = ("healthy_time=25s", "healthy_deadline=26s", "dead_man=28s", "soak.canary=1s", "soak.other=1s")
    words = [
        UPKEEP,
        "run",
        "maintenance",
        *documents(lab),
        *(part for text in settings for part in ("--set", text)),
        "--yes",
    ]
    run = subprocess.Popen(
        words,
        env=controller.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _until(lambda: "1.5.0" in versions(lab).values(), within=timedelta(seconds=120))
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    switched = next(name for name, version in versions(lab).items() if version == "1.5.0")
    _until(lambda: versions(lab)[switched] == "1.4.2", within=timedelta(seconds=60))
    _until(lambda: all(host.active == "active" for host in lab.status()), within=timedelta(seconds=30))
    said = controller("status", "last").stdout
    assert "its process is gone" in said
    assert "rolled-back by its dead-man switch" in said
    code, report = controller.run(lab)
    assert (code, set(outcomes(report).values())) == (0, {"committed"}), report


def _until(condition, *, within: timedelta) -> None:  # type: ignore[no-untyped-def]
    deadline = monotonic() + within.total_seconds()
    while not condition():
        assert monotonic() < deadline, "what was waited for did not happen"
        sleep(0.05)


def test_the_history_of_a_run_is_kept_and_read_as_json(lab: Lab, controller: Controller) -> None:
    started = datetime.now(UTC)
    _, report = controller.run(lab, "--reason", "nightly", "--ticket", "CHG42")
    listed = json.loads(controller("history", "list", "--json").stdout)
    assert [(run["id"], run["reason"], run["ticket"], run["outcome"]) for run in listed] == [
        (report["run"], "nightly", "CHG42", "succeeded")
    ]
    assert datetime.fromisoformat(listed[0]["started_at"]) >= started
    code, again = controller.json("history", "show", report["run"])
    assert (code, again) == (0, report)
    assert Path(controller.home / "history.db").exists()
