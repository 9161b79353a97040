"""A controller with pages, people with tokens, and runs to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert

from tests.unit.audit.conftest import run_record
from upkeep.audit.history import History
from upkeep.audit.people import People
from upkeep.audit.tables import HostRow, StepRow
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome, Step
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.inventory import Host
from upkeep.domain.record import Actor
from upkeep.domain.stages import Candidate, plan_stages
from upkeep.errors import BackupError
from upkeep.settings import Settings
from upkeep.webhook.app import create_app
from upkeep.wiring import Site

NASTY = '<script>alert("x")</script>'
BEGAN = datetime(2026, 11, 1, 22, tzinfo=UTC)


@dataclass(frozen=True)
class Tokens:
    """Who may sign in, and by what."""

    people: People
    by_name: dict[str, str]

    def add(self, name: str, *roles: str, **more: Any) -> None:
        self.by_name[name] = self.people.add(name, roles, Actor(name="root"), **more)


@pytest.fixture
def environ() -> dict[str, str]:
    return {}


@pytest.fixture
def site(tmp_path: Path, environ: dict[str, str]) -> Iterator[Site]:
    made = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path), **environ}), {})
    yield made
    made.checkpoints.close()
    made.history.close()


@pytest.fixture
def people(site: Site) -> Tokens:
    """ann may look, olga may stop runs, ada may do anything."""
    tokens = Tokens(People(site.history), {})
    tokens.add("ann", "viewer")
    tokens.add("olga", "viewer", "operator", logins=["olga.k"])
    tokens.add("ada", "admin")
    return tokens


@pytest.fixture
def visit(site: Site, request: pytest.FixtureRequest) -> Callable[..., TestClient]:
    """A browser on this controller, of somebody signed in if a name is given."""

    def browser(name: str = "", address: str = "127.0.0.1") -> TestClient:
        client = TestClient(create_app(site), client=(address, 50000), follow_redirects=False)
        client.headers["accept"] = "text/html"
        if name:
            token = request.getfixturevalue("people").by_name[name]
            signed_in = client.post("/sign-in", data={"token": token})
            assert signed_in.status_code == 303, signed_in.text
        return client

    return browser


def tell_small_run(history: History, run: str = "r1", **changes: object) -> None:
    """Three hosts: one committed, one whose backup failed, one still at work; some of its texts try to be scripts."""
    targets = tuple(Host(name=name, address="10.0.0.1") for name in ("web-1", "web-2", "web-3"))
    record = run_record(run, targets=targets, **changes)
    history.open_run(record)
    history.stages_planned(run, plan_stages(record.plan, [Candidate(host, "c") for host in targets]))
    history.stage_opened(run, "canary", ["web-1", "web-2"])
    for phase, value in (("baseline", 40.0), ("verify", 44.0)):
        with history.step(run, "web-1", Step(phase), stage="canary"):
            pass
        found = Finding(check="host.disk.free", verdict=Verdict.PASS, reason="enough", value=value, unit="GB")
        history.findings(run, "web-1", phase, [found])
    history.backup_taken(run, "web-1", path="/b/web-1.tar.gz", size_bytes=9, sha256="ab" * 32, files=3, verified=True)
    with pytest.raises(BackupError), history.step(run, "web-2", Step.BACKUP, stage="canary"):
        raise BackupError(f"disk full {NASTY}")
    late = Finding(check="host.clock", verdict=Verdict.WARN, reason=f"late {NASTY}", evidence=NASTY, remedy="start ntp")
    history.findings(run, "web-2", "check", [late])
    committed = HostResult(outcome=HostOutcome.COMMITTED, from_version="1.4", to_version="1.5")
    history.host_result(run, "web-1", committed, stage="canary")
    failed = HostResult(outcome=HostOutcome.FAILED, reason=NASTY, remedy="free disk space")
    history.host_result(run, "web-2", failed, stage="canary")


def tell_large_run(history: History, hosts: int, run: str = "large") -> None:
    """A run over many hosts, every one through nine steps; every hundredth failed in its verification."""
    targets = tuple(Host(name=f"web-{number:04}", address="10.0.0.1") for number in range(hosts))
    record = run_record(run, targets=targets)
    history.open_run(record)
    history.stages_planned(run, plan_stages(record.plan, [Candidate(host, "c") for host in targets]))
    history.stage_opened(run, "100%", [host.name for host in targets])
    steps = [step for step in Step if step not in {Step.ROLLBACK, Step.WATCH}]
    host_rows, step_rows = [], []
    for number, host in enumerate(targets):
        bad = number % 100 == 0
        outcome = HostOutcome.FAILED if bad else HostOutcome.COMMITTED
        host_rows.append(
            {
                "run": run,
                "host": host.name,
                "stage": "100%",
                "current_step": "unlock",
                "outcome": outcome.value,
                "from_version": "1.4",
                "to_version": "1.5",
                "reason": "did not answer" if bad else "",
                "remedy": "look at its log" if bad else "",
            }
        )
        for place, step in enumerate(steps):
            begun = BEGAN + timedelta(seconds=10 * place)
            happening = "failed" if bad and step is Step.VERIFY else "ok"
            step_rows.append(
                {
                    "run": run,
                    "host": host.name,
                    "step": step.value,
                    "attempt": 1,
                    "intent_at": begun.isoformat(),
                    "ended_at": (begun + timedelta(seconds=place)).isoformat(),
                    "happening": happening,
                    "reason": "",
                    "body": "{}",
                }
            )
    with history._engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(insert(HostRow), host_rows)
        connection.execute(insert(StepRow), step_rows)
    history.close_run(run, RunOutcome.WITH_EXCEPTIONS, "some hosts failed")


def tell_old_runs(history: History, number: int) -> None:
    """Runs of many days, plans and people."""
    for place in range(number):
        record = run_record(
            f"old-{place:03}",
            plan=run_record().plan.model_copy(update={"name": f"plan-{place % 3}"}),
            started_at=BEGAN + timedelta(days=place),
            ticket=f"CHG-{place % 5}",
        )
        history.open_run(record)
        history.host_result(
            record.id, f"db-{place % 4}", HostResult(outcome=HostOutcome.COMMITTED, to_version=f"1.{place}")
        )
        history.close_run(record.id, RunOutcome.SUCCEEDED if place % 2 else RunOutcome.HELD, "")
