"""1,000 deliveries, a third of them repetitions, while receiver and judge are killed (issue 5: "Shown by"; R3; fault 50)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.lab.served import free_ports, until
from tests.e2e.prefect_server import shared_server
from tests.ticketing import SECRET, Office, laid_out, office
from upkeep.audit.deliveries import Fate
from upkeep.lab.tickets.sending import Target, signed
from upkeep.project import project_folder

DISTINCT, REPEATED = 667, 333
HOSTS = ["h1", "h2", "h3", "h4"]
_DEPLOY = "from flows.maintenance import maintenance; maintenance.to_deployment('manual').apply()"


class Killed:
    """A process that is killed and started again until it is ended."""

    def __init__(self, words: list[str], environ: dict[str, str], log: Path) -> None:
        self._words, self._environ, self._log = words, environ, log
        self.process = self._started()
        self.kills = 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *self._words], env=self._environ, stdout=log, stderr=log, cwd=project_folder()
            )


@contextmanager
def killed_now_and_then(victims: list[Killed], every: float, seed: int) -> Iterator[None]:
    ended, dice = threading.Event(), random.Random(seed)

    def work() -> None:
        while not ended.wait(every * (0.5 + dice.random())):
            dice.choice(victims).kill()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def deliver_until_taken(url: str, body: bytes, headers: dict[str, str]) -> int:
    """As ticket systems do: sent again until somebody answers."""
    while True:
        try:
            answer = httpx.post(url, content=body, headers=headers, timeout=20)
        except httpx.HTTPError:
            time.sleep(0.1)
            continue
        if answer.status_code < 500:
            return answer.status_code
        time.sleep(0.1)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1])
def test_every_distinct_change_is_started_exactly_once_whoever_is_killed(tmp_path: Path, seed: int) -> None:
    paths = laid_out(tmp_path / "lab")
    plan, inventory = paths.directory / "plan.yaml", paths.directory / "inventory.yaml"
    with (
        shared_server(tmp_path / "prefect") as prefect,
        office(tmp_path, "generic", plan, inventory) as desk_office,
    ):
        environ = {**os.environ, **desk_office.environ, **prefect}
        subprocess.run(
            [sys.executable, "-c", _DEPLOY], env=environ, cwd=project_folder(), check=True, capture_output=True
        )
        desk_office.desk.temper.per_second = 100_000
        (port,) = free_ports(1)
        receiver = Killed(["-m", "upkeep.webhook", "--port", str(port)], environ, tmp_path / "receiver.log")
        judge = Killed(["-m", "deployments.services"], environ, tmp_path / "judge.log")
        try:
            with killed_now_and_then([receiver, judge], 6, seed):
                answers = _storm(desk_office, f"http://127.0.0.1:{port}/webhooks/generic", seed)
            assert set(answers) <= {200, 202}
            site = desk_office.site()
            until(
                lambda: all(one.fate not in {Fate.NEW, Fate.WAITING} for one in site.deliveries.all(newest=5000)), 1200
            )
            held = site.deliveries.all(newest=5000)
            assert len(held) == DISTINCT, "nothing lost, nothing kept twice"
            assert {one.fate for one in held} == {Fate.STARTED}, [
                one.reason for one in held if one.fate is not Fate.STARTED
            ][:3]
            started = _flow_runs(prefect["PREFECT_API_URL"])
            assert len(started) == DISTINCT
            assert {key.split(":")[0] for key in started} == {str(one.ref) for one in held}
            assert receiver.kills + judge.kills >= 4, "the storm was over before anybody was killed"
            site.history.close()
        finally:
            for victim in (receiver, judge):
                victim.process.kill()
                victim.process.wait()


def _storm(desk_office: Office, url: str, seed: int) -> list[int]:
    target = Target(url, SECRET, "standard")
    letters = [signed(target, desk_office.ticket(HOSTS, title=f"change {n}"), "generic") for n in range(DISTINCT)]
    dice = random.Random(seed)
    letters += dice.sample(letters, REPEATED)
    dice.shuffle(letters)
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda letter: deliver_until_taken(url, *letter), letters))


def _flow_runs(api: str) -> list[str]:
    """Idempotency keys of every flow run there is."""
    found: list[str] = []
    while True:
        page = httpx.post(
            f"{api}/flow_runs/filter", json={"limit": 200, "offset": len(found), "sort": "ID_DESC"}, timeout=60
        ).json()
        found += [run["idempotency_key"] or run["parameters"]["request"]["ticket"] for run in page]
        if not page:
            return found
