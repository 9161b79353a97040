"""What the history costs: a run over thousands of hosts, written as runs write it, on SQLite and PostgreSQL (issue 6, shown by).

Beside it, in the same minute, the same rows inserted plainly; and the pages over that history, served by the real application.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from fastapi.testclient import TestClient
from sqlalchemy import insert, select
from sqlmodel import SQLModel

from tasks.keep_approvals import ApprovalKeeper, wait_for_approval
from tests.postgresql import running_cluster
from tests.unit.audit.conftest import run_record
from upkeep.audit.database import open_database, writing
from upkeep.audit.history import History
from upkeep.audit.people import People
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome, Step
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan
from upkeep.domain.record import Actor
from upkeep.domain.stages import Candidate, plan_stages
from upkeep.settings import Settings
from upkeep.webhook.app import create_app
from upkeep.wiring import Site

KINDS = ("sqlite", "postgresql")
AT_ONCE = 64
BATCH = 256
TIMES = 15
PAGES = {
    "runs": "/history",
    "runs of one host": "/history?host=web-00042",
    "the run": "/history/runs/big",
    "its hosts, further on": "/history/runs/big?page=9",
    "its failed hosts": "/history/runs/big?hosts=failed",
    "its live part": "/history/runs/big/live",
    "a host in the run": "/history/runs/big/hosts/web-00042",
    "a host's life": "/history/hosts/web-00042",
    "approvals": "/approvals",
    "the proof, as last looked at": "/history/proof",
}
WHILE_IT_GOES_ON = {
    "the run, while it goes on": "/history/runs/big",
    "its live part, while it goes on": "/history/runs/big/live",
}
WHILE_IT_WAITS = {
    "approvals, while it waits": "/approvals",
    "the run, while it waits": "/history/runs/big",
    "runs, while it waits": "/history",
}
PLAN = Plan.model_validate({"name": "night", "profile": "x", "release": "r", "approvals": {"stage": "later"}})
STEPS = (
    Step.CHECK,
    Step.LOCK,
    Step.BASELINE,
    Step.BACKUP,
    Step.FETCH,
    Step.SWITCH,
    Step.VERIFY,
    Step.COMMIT,
    Step.UNLOCK,
)
FINDINGS = [
    Finding(
        check=f"host.thing.n{n}",
        verdict=Verdict.PASS,
        reason="all is as it should be",
        evidence="x" * 60,
        value=float(n),
    )
    for n in range(12)
]
OBJECTIONS = [finding.model_copy(update={"verdict": Verdict.FAIL, "remedy": "look at it"}) for finding in FINDINGS[:3]]
FAILED_PCT = 4


@dataclass
class Measured:
    """One database."""

    database: str
    hosts: int
    events: int
    seconds: float
    ms_per_event: float
    cpu_ms_per_event: float
    raw_rows: int
    raw_ms_per_event: float
    ratio_to_raw: float
    rss_mb_after_tenth: float
    rss_mb_after_all: float
    pages_ms: dict[str, float]
    pages_first_ms: dict[str, float]


def main() -> None:
    """Measure and print one JSON document a database."""
    asked = wanted(__doc__)
    for kind in asked.databases:
        with databases(kind) as urls:
            sys.stdout.write(json.dumps(asdict(measure(kind, urls, asked.hosts)), indent=1) + "\n")


@dataclass(frozen=True)
class Wanted:
    """What a measurement of the history was asked for on the command line."""

    hosts: int
    databases: tuple[str, ...]


def wanted(told: str) -> Wanted:
    """Read the command line; `told` says what the measurement does."""
    parser = argparse.ArgumentParser(description=told)
    parser.add_argument("--hosts", type=int, default=5000)
    parser.add_argument("--only", choices=KINDS)
    asked = parser.parse_args()
    return Wanted(asked.hosts, (asked.only,) if asked.only else KINDS)


@contextlib.contextmanager
def databases(kind: str) -> Iterator[Sequence[str]]:
    """Addresses of two databases of a kind, on a disk."""
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="upkeep-bench-", dir="/var/tmp"))
            )  # a disk, not memory
            yield [f"sqlite:///{folder / name}.db" for name in ("history", "raw")]
        else:
            cluster = stack.enter_context(running_cluster(durable=True))
            yield [cluster.database(), cluster.database()]


def measure(kind: str, urls: Sequence[str], hosts: int) -> Measured:
    """One run over so many hosts, then the same rows plainly, then the pages."""
    history = History.open(urls[0])
    names = [f"web-{n:05d}" for n in range(hosts)]
    targets = tuple(Host(name=name, address=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n, name in enumerate(names))
    record = run_record("big", targets=targets, fleet_size=hosts, plan=PLAN)
    history.open_run(record)
    history.stages_planned("big", plan_stages(record.plan, [Candidate(host, "c") for host in targets]))
    history.stage_opened("big", "all", names)
    after_tenth = 0.0
    started, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(AT_ONCE) as workers:
        for number, _ in enumerate(workers.map(lambda name: one_host(history, name), names), 1):
            if number == hosts // 10:
                after_tenth = _rss_mb()
    seconds, spent = time.perf_counter() - started, time.process_time() - cpu
    after_all = _rss_mb()
    pages = _pages(urls[0], WHILE_IT_GOES_ON)
    awaited = ApprovalKeeper(history, record).awaits("later", 1, datetime.now(UTC))
    wait_for_approval(SimpleNamespace(record=record, history=history), awaited)  # type: ignore[arg-type]
    pages |= _pages(urls[0], WHILE_IT_WAITS)
    history.stage_closed("big", "all", "go", "")
    history.close_run("big", RunOutcome.SUCCEEDED, "all well")
    with history.reading() as session:
        events = int(session.connection().exec_driver_sql("SELECT max(seq) FROM event").scalar_one())
    raw_rows, raw_seconds = _raw(history, urls[1])
    history.close()
    pages |= _pages(urls[0], PAGES)
    usual = {name: times[1] for name, times in pages.items()}
    per_event = 1000 * seconds / events
    raw = 1000 * raw_seconds / events
    return Measured(
        kind, hosts, events, round(seconds, 1), round(per_event, 3), round(1000 * spent / events, 3),
        raw_rows, round(raw, 3), round(per_event / raw, 1), after_tenth, after_all, usual, {name: times[0] for name, times in pages.items()},
    )  # fmt: skip


def one_host(history: History, name: str) -> None:
    """All that a run writes of one host."""
    for step in STEPS:
        with history.step("big", name, step, stage="all") as record:
            record.body = {"facts": {"os": "Debian 12", "kernel": "6.1.0"}, "exit_code": 0}
        if step in {Step.BASELINE, Step.VERIFY}:
            history.findings("big", name, step.value, FINDINGS)
        if step is Step.BACKUP:
            history.backup_taken(
                "big", name, path=f"/b/{name}.tar.gz", size_bytes=9, sha256="ab" * 32, files=3, verified=True
            )
    if int(name[-2:]) < FAILED_PCT:
        history.findings("big", name, "watch", OBJECTIONS)
    outcome = HostOutcome.FAILED if int(name[-2:]) < FAILED_PCT else HostOutcome.COMMITTED
    history.host_result("big", name, HostResult(outcome=outcome, from_version="1", to_version="2"), stage="all")


def _raw(history: History, url: str) -> tuple[int, float]:
    """The same rows of the same tables, inserted with the same durability: as many at once as the history commits at once."""
    source, _ = history.database
    target = open_database(url)
    count, spent = 0, 0.0
    with source.connect() as rows:
        for table in SQLModel.metadata.sorted_tables:
            for part in rows.execute(select(table).execution_options(yield_per=BATCH)).mappings().partitions(BATCH):
                plain = [dict(row) for row in part]
                begun = time.perf_counter()
                with writing(target) as connection:
                    connection.execute(insert(table), plain)
                spent += time.perf_counter() - begun
                count += len(plain)
    target.dispose()
    return count, spent


def _pages(url: str, pages: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """First and median milliseconds of the server's work for each page, asked for again and again by somebody who signed in."""
    with tempfile.TemporaryDirectory() as home:
        site = Site(Settings.from_environment({"UPKEEP_HOME": home, "UPKEEP_DATABASE_URL": url}), {})
        token = People(site.history).add(f"bench-{len(pages)}", ("viewer",), Actor(name="bench"))
        with TestClient(create_app(site), client=("127.0.0.1", 50000)) as client:
            client.post("/sign-in", data={"token": token}).raise_for_status()
            times = {name: _served(client, path) for name, path in pages.items()}
        site.checkpoints.close()
        site.history.close()
    return times


def _served(client: TestClient, path: str) -> tuple[float, float]:
    times = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        answer = client.get(path)
        times.append(1000 * (time.perf_counter() - begun))
        answer.raise_for_status()
    return round(times[0], 1), round(statistics.median(times[1:]), 1)


def _rss_mb() -> float:
    text = Path("/proc/self/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
