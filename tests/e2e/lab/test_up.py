"""`upkeep up`: runbooks started through a Prefect server, cancelled, suspended, killed (issue 2: 9; issue 3: 2; R1, R5, R7; faults 44, 46, 47)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from tests.e2e.lab.controller import UPKEEP, Controller, outcomes, versions
from tests.e2e.lab.served import CANCELLING, FINAL, RESUMING, SUSPENDED, Served, free_ports, request_for, until
from upkeep.domain.change import HostOutcome, RunOutcome
from upkeep.lab.lab import Lab
from upkeep.process import lives

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("up")]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("up")
    port, pages_port = free_ports(2)
    controller = Controller(folder / "home")
    controller.home.mkdir()
    api = f"http://127.0.0.1:{port}/api"
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [UPKEEP, "up", "--port", str(port), "--pages-port", str(pages_port)],
            env=controller.environment(),
            stdout=log,
            stderr=log,
            cwd="/",
        )
    try:
        yield Served(controller, api)
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(180) == 0, (folder / "up.log").read_text()


def test_a_run_started_through_the_server_changes_the_fleet_and_leaves_its_artifacts(lab: Lab, served: Served) -> None:
    run = served.start(request_for(lab))
    ended = served.when(run, *FINAL)
    assert ended["state"]["type"] == "COMPLETED", ended["state"]
    assert ended["name"].startswith("maintenance plan ")
    assert set(versions(lab).values()) == {"1.5.0"}
    code, report = served.controller.json("status", "last")
    assert (code, set(outcomes(report).values())) == (0, {"committed"})
    wanted = {"flow_runs": {"id": {"any_": [run]}}}
    shown = {one["key"].rpartition("-")[2]: one for one in served.asked("POST", "artifacts/filter", wanted)}
    assert {name: one["type"] for name, one in shown.items()} == {
        "plan": "markdown",
        "hosts": "table",
        "progress": "progress",
        "report": "markdown",
    }
    assert "- Stage 1, canary: 1 host (" in shown["plan"]["data"], shown["plan"]["data"]
    assert ": before and after" in shown["report"]["data"]


def test_a_cancelled_run_puts_its_hosts_in_work_back(lab: Lab, served: Served) -> None:
    run = served.start(request_for(lab, healthy_time="15s"))
    served.until_switched(lab, run)
    served.set_state(run, CANCELLING)
    served.when(run, "CANCELLED", "COMPLETED")
    until(lambda: served.run_of(run).outcome is not None)
    assert set(versions(lab).values()) == {"1.4.2"}
    assert served.run_of(run).outcome is RunOutcome.STOPPED
    assert "cancelled" in served.run_of(run).reason


def test_a_suspended_run_finishes_its_hosts_in_work_and_goes_on_when_it_is_resumed(lab: Lab, served: Served) -> None:
    run = served.start(request_for(lab, healthy_time="4s"))
    served.until_switched(lab, run)
    served.set_state(run, SUSPENDED)
    until(lambda: lives(served.run_of(run).process) is False)
    done = {name for name, host in served.run_of(run).hosts.items() if host.outcome is HostOutcome.COMMITTED}
    assert {name for name, version in versions(lab).items() if version == "1.5.0"} == done
    assert len(done) < len(versions(lab))
    served.set_state(run, RESUMING)
    assert served.when(run, *FINAL)["state"]["type"] == "COMPLETED"
    assert set(versions(lab).values()) == {"1.5.0"}
    assert served.run_of(run).outcome is RunOutcome.SUCCEEDED


def test_a_run_whose_process_is_killed_is_taken_up_by_itself_where_its_plan_says_so(lab: Lab, served: Served) -> None:
    run = served.start(request_for(lab, healthy_time="4s", resume="auto"))
    served.until_switched(lab, run)
    first = served.run_of(run)
    os.kill(int(first.process.split(":")[2]), signal.SIGKILL)
    until(lambda: served.run_of(run).outcome is not None)
    assert served.run_of(run).outcome is RunOutcome.SUCCEEDED
    assert served.run_of(run).id == first.id
    assert set(versions(lab).values()) == {"1.5.0"}
    actions = [event.action for event in served.history.events(first.id)]
    assert actions.count("run.resumed") == 1
    assert actions.count("run.orphaned") == 1


def test_a_plan_with_a_schedule_starts_by_itself_when_its_window_opens(lab: Lab, served: Served) -> None:
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=25)
    plan = lab.plan_path.with_name("by-itself.yaml")
    quick = request_for(lab)["settings"]
    soak = {key.removeprefix("soak."): value for key, value in quick.items() if key.startswith("soak.")}
    rest = {key: value for key, value in quick.items() if not key.startswith("soak.")}
    window = {"zone": "UTC", "rule": "FREQ=YEARLY", "start": f"{opens:%Y-%m-%d %H:%M:%S}", "duration": "1h"}
    schedule = {"inventory": lab.inventory_path.name}
    written = yaml.safe_load(lab.plan_path.read_text()) | rest | {"soak": soak, "window": window, "schedule": schedule}
    plan.write_text(yaml.safe_dump(written))
    folder = served.controller.home / "plans"
    folder.symlink_to(lab.plan_path.parent)
    try:
        until(lambda: any(run.source == "schedule" and run.outcome for run in served.history.runs()))
    finally:
        folder.unlink()
    (run,) = [run for run in served.history.runs() if run.source == "schedule"]
    assert run.outcome is RunOutcome.SUCCEEDED
    assert timedelta(0) <= run.started_at - opens <= timedelta(seconds=60)
    assert run.id.startswith(f"{opens:%Y%m%d-%H%M%S}-")
    assert set(versions(lab).values()) == {"1.5.0"}
    assert served.history.missed_starts() == []
