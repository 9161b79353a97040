"""One run spread over three Prefect workers (issue 4: 7; D11): one of them is killed, and its hosts become another's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.bench import documents, hosts
from tests.e2e.lab.controller import Controller
from tests.e2e.lab.served import Served, until
from upkeep.audit.history import History
from upkeep.audit.order_book import OrderBook
from upkeep.audit.reading import RunDetail
from upkeep.domain.change import HostOutcome, RunOutcome, Step
from upkeep.domain.record import Happening
from upkeep.process import lives
from upkeep.project import project_folder

if TYPE_CHECKING:
    from tests.postgresql import Cluster

pytestmark = [pytest.mark.timeout(3600), pytest.mark.xdist_group("worker"), pytest.mark.sshd]

HOSTS = int(os.environ.get("UPKEEP_SHARDED_HOSTS", "300"))
ONCE = {Step.BACKUP, Step.FETCH, Step.SWITCH, Step.COMMIT}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hosts.Fleet]:
    """Small agents: what is proved here is who does what, not how quickly."""
    monkeypatch.setattr(hosts, "BINARY_BYTES", 64 * 1024)
    with hosts.Fleet(tmp_path / "fleet", HOSTS) as made:
        made.reset()
        yield made


@pytest.fixture
def controller(tmp_path: Path, prefect_server: dict[str, str], postgresql: Cluster) -> Controller:
    own = {"UPKEEP_CHECKOUT": str(project_folder()), "UPKEEP_DATABASE_URL": postgresql.database()}
    made = Controller(tmp_path / "home", {**prefect_server, **own})
    made.home.mkdir()
    return made


@pytest.fixture
def workers(controller: Controller, tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three process workers of one pool, each with room for two flow runs."""

    def prefect(*words: str) -> None:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
        subprocess.run(command, env=controller.environment(), cwd=project_folder(), check=True, capture_output=True)

    prefect("work-pool", "create", "upkeep", "--type", "process", "--overwrite")
    project = yaml.safe_load((project_folder() / "deployments/prefect.yaml").read_text())
    wanted = {"flows.maintenance:maintenance", "flows.shard:shard"}
    project["deployments"] = [one for one in project["deployments"] if one["entrypoint"] in wanted]
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(project))
    prefect("deploy", "--all", "--prefect-file", str(tmp_path / "prefect.yaml"))
    words = [
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        "upkeep",
        "--type",
        "process",
        "--limit",
        "2",
    ]
    environment = {**controller.environment(), "PREFECT_WORKER_QUERY_SECONDS": "2"}
    started = []
    with ExitStack() as logs:
        for number in range(3):
            log = logs.enter_context((tmp_path / f"worker{number}.log").open("wb"))
            started.append(subprocess.Popen([*words, "--name", f"w{number}"], env=environment, stdout=log, stderr=log))
        yield started
        for worker in started:
            if worker.poll() is None:
                worker.kill()
            worker.wait()


@pytest.fixture
def history(controller: Controller) -> Iterator[History]:
    opened = History.open(controller.environ["UPKEEP_DATABASE_URL"])
    yield opened
    opened.close()


def test_a_worker_killed_amid_its_shard_loses_nothing_and_no_finished_step_is_done_again(
    fleet: hosts.Fleet,
    controller: Controller,
    workers: list[subprocess.Popen[bytes]],
    history: History,
    prefect_server: dict[str, str],
) -> None:
    inventory, plan = documents.write(fleet)
    served = Served(controller, prefect_server["PREFECT_API_URL"])
    settings = {"shards": "3", "healthy_time": "1s", "at_once": "60"}
    flow_run = served.start({"inventory": str(inventory), "plan": str(plan), "settings": settings})
    until(lambda: history.run_of_flow(flow_run) is not None)
    run = history.run_of_flow(flow_run)
    assert run is not None
    book = OrderBook(history, run.id)
    until(lambda: history.run(run.id).outcome is not None or halfway(history, book, run, workers), 1200)
    assert history.run(run.id).outcome is None, (
        "all was done before another worker had hosts in work; nothing was proved"
    )
    killed = kill_worker_with_a_shard(book, run, workers)
    assert killed
    until(lambda: history.run(run.id).outcome is not None, 2400)

    detail = history.run(run.id)
    assert detail.outcome is RunOutcome.SUCCEEDED, detail.reason
    assert Counter(host.outcome for host in detail.hosts.values()) == {HostOutcome.COMMITTED: HOSTS}
    interrupted = {(row.host, row.step) for row in history.steps(run.id) if row.happening is Happening.INTENT}
    assert interrupted, "the kill came when nothing was in work; nothing was proved"
    twice = {f"{host}: 2 backups" for host, step in interrupted if step is Step.BACKUP}  # the first one stepped aside
    assert set(fleet.changed(upkeep=True)) <= twice
    done = Counter((row.host, row.step) for row in history.steps(run.id) if row.happening is Happening.OK)
    assert {key: times for key, times in done.items() if key[1] in ONCE and times > 1} == {}
    assert Counter(step for _, step in done if step is Step.COMMIT)[Step.COMMIT] == HOSTS
    assert history.verify().ok
    assert controller("history", "verify").returncode == 0


def halfway(history: History, book: OrderBook, run: RunDetail, workers: list[subprocess.Popen[bytes]]) -> bool:
    """Whether hosts are done, and others in work at a shard of another worker."""
    return len(committed(history, run.id)) >= HOSTS // 6 and held_elsewhere(book, run, workers) is not None


def committed(history: History, run: str) -> list[str]:
    return [name for name, host in history.run(run).hosts.items() if host.outcome is HostOutcome.COMMITTED]


def held_elsewhere(book: OrderBook, run: RunDetail, workers: list[subprocess.Popen[bytes]]) -> int | None:
    """A living shard that has hosts in work, at another worker than the run's own."""
    own = worker_of(pid_of(run.process), workers)
    holders = book.holders()
    for shard in book.shards():
        if shard.alive and shard.id in holders and lives(shard.process):
            at = worker_of(pid_of(shard.process), workers)
            if at is not None and at != own:
                return at
    return None


def kill_worker_with_a_shard(book: OrderBook, run: RunDetail, workers: list[subprocess.Popen[bytes]]) -> list[int]:
    """SIGKILL to one worker and to every flow process it started, as when its machine dies."""
    at = held_elsewhere(book, run, workers)
    assert at is not None
    shards = [pid_of(shard.process) for shard in book.shards() if shard.alive]
    killed = [pid for pid in shards if worker_of(pid, workers) == at]
    os.kill(workers[at].pid, signal.SIGKILL)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    return killed


def pid_of(process: str) -> int:
    return int(process.split(":")[2])


def worker_of(pid: int, workers: list[subprocess.Popen[bytes]]) -> int | None:
    """Which worker started a process."""
    pids = [worker.pid for worker in workers]
    while pid > 1:
        if pid in pids:
            return pids.index(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            return None
    return None
