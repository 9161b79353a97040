"""A failing host is taken out of service by the site's hook and put back when it has been healthy for a time (issue 7: 5; D11)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

import tasks.conclude_inspection
import tasks.inspect_host
from tasks.conclude_inspection import Inspection, conclude
from tasks.isolate import Isolated, isolate
from tests.unit.audit.conftest import run_record
from upkeep.audit.inspections import CONCLUDED, acknowledge
from upkeep.audit.isolations import DRAINING, drained_by_upkeep
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.inspection import Acknowledgement, Looked
from upkeep.domain.inventory import Host
from upkeep.domain.isolation import Drained, Isolation, decide
from upkeep.domain.plan import Plan
from upkeep.domain.record import Actor
from upkeep.settings import Settings
from upkeep.wiring import Site

DOWN = Finding(
    check="service.active", subject="a.service", verdict=Verdict.FAIL, reason="it is failed", remedy="start it"
)
FULL = Finding(check="host.disk.used", subject="/", verdict=Verdict.FAIL, reason="/ is full", remedy="free it")
SILENT = Finding(check="net.http.health", verdict=Verdict.UNKNOWN, reason="?", remedy="ask")
HOSTS = tuple(Host(name=f"h{n}", address=f"10.0.0.{n}", labels={"zone": "a"}) for n in range(1, 6))


class Pool:
    """A load balancer: who is out is a file; the hooks are commands of the site's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def rules(self, **changes: object) -> dict[str, object]:
        out = f"{self.folder}/{{{{ host }}}}"
        return {
            "drain": {"command": ["sh", "-c", 'echo "{{ address }} {{ zone }}" >"$0"', out]},
            "restore": {"command": ["rm", out]},
            "asks": {"command": ["sh", "-c", '[ ! -e "$0" ] || echo drained', out]},
            **changes,
        }

    @property
    def out(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path / "home")}), {})
    yield made
    made.checkpoints.close()
    made.history.close()


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


def look(host: str, *problems: Finding, minutes: float = 0) -> Looked:
    return Looked(host=host, at=datetime.now(UTC) + timedelta(minutes=minutes), problems=problems)


def inspected(site: Site, rules: dict[str, object], *looks: Looked, earlier: tuple[Looked, ...] = ()) -> Isolated:
    """What one inspection does about hosts that are like this."""
    number = len(site.history.runs(limit=100))
    plan = Plan(name="night", profile="x", release="r", isolation=Isolation.model_validate(rules))
    record = run_record(f"r{number}", runbook="health_inspection", plan=plan, targets=HOSTS)
    site.history.open_run(record)
    session = SimpleNamespace(record=record, history=site.history, hosts={host.name: host for host in HOSTS})
    return isolate(session, {one.host: one for one in looks}, {one.host: [one] for one in earlier})  # type: ignore[arg-type]


def actions(site: Site, host: str) -> list[tuple[str, str]]:
    runs = [run.id for run in site.history.runs(limit=100)]
    events = [event for run in runs for event in site.history.events(run) if event.host == host]
    return [(event.action, event.actor.name) for event in sorted(events, key=lambda event: event.seq)]


def test_a_failing_host_is_taken_out_and_put_back_only_when_it_was_healthy_for_the_time_named(
    site: Site, pool: Pool
) -> None:
    rules = pool.rules(healthy_for="10m")
    assert inspected(site, rules, look("h1", DOWN), look("h2", FULL)).done == (
        "h1 was taken out of service: service.active:a.service: it is failed",
    )
    assert pool.out == ["h1"]
    assert (pool.folder / "h1").read_text() == "10.0.0.1 a\n"
    soon, later = look("h1", minutes=1), look("h1", minutes=12)
    assert "not yet for 10 min" in inspected(site, rules, soon).left[0]
    assert pool.out == ["h1"]
    assert "put back into service, taken out by run r0 of ann" in inspected(site, rules, later, earlier=(soon,)).done[0]
    assert pool.out == []
    assert actions(site, "h1") == [
        ("host.draining", "ann"),
        ("host.drained", "ann"),
        ("host.restoring", "ann"),
        ("host.restored", "ann"),
    ]


@pytest.mark.parametrize("problem", [DOWN, SILENT])
def test_a_host_that_was_sick_or_silent_in_between_begins_its_time_anew(problem: Finding) -> None:
    rules = Isolation.model_validate({"drain": {"command": ["a"]}, "restore": {"command": ["b"]}, "healthy_for": "10m"})
    ours = {"h1": Drained("h1", "r0", "ann", datetime.now(UTC) - timedelta(minutes=30))}
    earlier = {"h1": [look("h1", minutes=-20), look("h1", problem, minutes=-5)]}
    decision = decide(rules, {"h1": look("h1")}, earlier, ours, 5)
    assert (decision.restore, dict(decision.drain)) == ((), {})
    earlier = {"h1": [look("h1", problem, minutes=-25), look("h1", minutes=-20)]}
    assert decide(rules, {"h1": look("h1")}, earlier, ours, 5).restore == ("h1",)


def test_what_somebody_else_took_out_is_not_put_back(site: Site, pool: Pool) -> None:
    (pool.folder / "h1").write_text("by hand")
    rules = pool.rules(healthy_for="0s")
    assert "was out of service already" in inspected(site, rules, look("h1", DOWN)).done[0]
    assert inspected(site, rules, look("h1", minutes=5)) == Isolated()
    assert pool.out == ["h1"]
    assert actions(site, "h1") == []


def test_what_somebody_else_put_back_is_left_and_is_no_longer_upkeeps(site: Site, pool: Pool) -> None:
    rules = pool.rules(healthy_for="0s")
    inspected(site, rules, look("h1", DOWN))
    (pool.folder / "h1").unlink()
    assert "is in service already" in inspected(site, rules, look("h1", minutes=1)).done[0]
    assert drained_by_upkeep(site.history, {"h1"}) == {}


def test_a_bad_night_takes_out_no_more_than_its_share(site: Site, pool: Pool) -> None:
    told = inspected(site, pool.rules(at_most_pct=40), *(look(host.name, DOWN) for host in HOSTS))
    assert pool.out == ["h1", "h2"]
    assert told.left[0] == "h3 is failing and stays in service: at most 2 of 5 hosts may be out at once"
    assert len(told.left) == 3


def test_a_hook_that_fails_is_told_and_leaves_nothing_to_put_back(site: Site, pool: Pool) -> None:
    rules = pool.rules(drain={"command": ["sh", "-c", "echo no such pool >&2; exit 3"]})
    assert (
        "could not be taken out of service: sh ended with code 3: no such pool"
        in inspected(site, rules, look("h1", DOWN)).done[0]
    )
    assert actions(site, "h1")[-1][0] == "host.drain_failed"
    assert inspected(site, rules, look("h1", minutes=60)) == Isolated()


def test_a_hook_that_did_its_work_and_failed_afterwards_is_believed_by_what_the_pool_says(
    site: Site, pool: Pool
) -> None:
    rules = pool.rules(drain={"command": ["sh", "-c", 'echo x >"$0"; exit 1', f"{pool.folder}/{{{{ host }}}}"]})
    assert "though the hook said" in inspected(site, rules, look("h1", DOWN)).done[0]
    assert set(drained_by_upkeep(site.history, {"h1"})) == {"h1"}


def test_a_drain_whose_controller_died_is_done_again_and_put_back_later(site: Site, pool: Pool) -> None:
    rules = pool.rules(healthy_for="0s")
    site.history.open_run(run_record("dead", runbook="health_inspection", targets=HOSTS))
    site.history.record("dead", DRAINING, host="h1", reason="it was failing")
    inspected(site, rules, look("h1", DOWN))
    assert pool.out == ["h1"]
    inspected(site, rules, look("h1", minutes=5))
    assert pool.out == []


def test_hooks_may_be_http_requests_with_a_token(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str, str]] = []

    class Answering(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            asked.append((self.path, body, self.headers["Authorization"], self.headers["Content-Type"]))
            self.send_response(500 if "h2" in self.path else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("POOL_TOKEN", "t0p")
    hook = {
        "url": f"http://127.0.0.1:{server.server_port}/pool/{{{{ host }}}}",
        "method": "PUT",
        "body": json.dumps({"state": "drain"}),
        "token_env": "POOL_TOKEN",
    }
    try:
        told = inspected(site, {"drain": hook, "restore": hook, "at_most_pct": 50}, look("h1", DOWN), look("h2", DOWN))
    finally:
        server.shutdown()
        server.server_close()
    assert asked[0] == ("/pool/h1", '{"state": "drain"}', "Bearer t0p", "application/json")
    assert "h1 was taken out" in told.done[0]
    assert "h2 is failing and could not be taken out of service" in told.done[1]
    assert "answered 500" in told.done[1]


def test_an_inspection_reports_whom_it_took_out_and_leaves_hosts_whose_trouble_is_known(
    site: Site, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (tasks.conclude_inspection, tasks.inspect_host):
        monkeypatch.setattr(module, "site", lambda: site)
    monkeypatch.setattr(tasks.conclude_inspection, "publish_report", lambda *_args, **_more: None)
    known = Acknowledgement(
        host="h2", check="service.active", until=datetime.now(UTC) + timedelta(days=1), reason="on its way out"
    )
    acknowledge(site.history, known, Actor(name="ann"))
    plan = Plan(name="night", profile="x", release="r", isolation=Isolation.model_validate(pool.rules(at_most_pct=100)))
    home = str(site.settings.home)
    record = run_record("r0", runbook="health_inspection", plan=plan, plan_dir=home, targets=HOSTS)
    site.history.open_run(record)
    session = SimpleNamespace(record=record, history=site.history, hosts={host.name: host for host in HOSTS})
    inspection = Inspection(session)  # type: ignore[arg-type]
    results = {name: inspection.take(look(name, DOWN)) for name in ("h1", "h2")}
    _, reason = conclude(inspection, results)
    assert reason.endswith("h1 was taken out of service: service.active:a.service: it is failed")
    assert pool.out == ["h1"]
    (concluded,) = [event for event in site.history.events("r0") if event.action == CONCLUDED]
    assert "h1 was taken out of service" in Path(concluded.body["report"]).read_text("utf-8")
    assert concluded.body["changed"]
