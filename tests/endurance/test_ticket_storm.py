"""1,000 deliveries, a third of them repetitions, while receiver and judge are killed (issue 5: "Shown by"; R3; fault 50)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlmodel import col, func, select

from tests.e2e.lab.served import free_ports, until
from tests.e2e.prefect_server import shared_server
from tests.ticketing import SECRET, Office, laid_out, office
from upkeep.audit.deliveries import Fate
from upkeep.audit.tables import DeliveryRow
from upkeep.project import project_folder
from upkeep.wiring import Site

DISTINCT, REPEATED = 667, 333
PIECES = 130
"""Each of the two is killed when it has kept, or judged, so many more."""
HOSTS = ["h1", "h2", "h3", "h4"]
_DEPLOY = "from flows.maintenance import maintenance; maintenance.to_deployment('manual').apply()"


class Killed:
    """A process that is killed and started again whenever it has done a part of the work, which `done` counts."""

    def __init__(self, words: list[str], environ: dict[str, str], log: Path, done: Callable[[], int]) -> None:
        self._words, self._environ, self._log = words, environ, log
        self._done, self.kills = done, 0
        self.process = self._started()

    def kill_after(self, pieces: int) -> bool:
        """Kill it if it has done so much since it was killed last; its successor begins anew."""
        if self._done() < (self.kills + 1) * pieces:
            return False
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1
        self.process = self._started()
        return True

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *self._words], env=self._environ, stdout=log, stderr=log, cwd=project_folder()
            )


@contextmanager
def killed_again_and_again(victims: list[Killed]) -> Iterator[None]:
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.5):
            for victim in victims:
                victim.kill_after(PIECES)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def deliver_until_taken(client: httpx.Client, url: str, ticket: str) -> int:
    """As ticket systems do: sent again, under the same id and signed anew, until somebody answers."""
    body = json.dumps({"ticket": ticket}).encode()
    while True:
        try:
            answer = client.post(url, content=body, headers=signed_now(f"delivery of {ticket}", body))
        except httpx.HTTPError:
            time.sleep(0.1)
            continue
        if answer.status_code < 500:
            return answer.status_code
        time.sleep(0.1)


def signed_now(delivery: str, body: bytes) -> dict[str, str]:
    stamp, key = str(int(time.time())), base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": delivery, "webhook-timestamp": stamp, "webhook-signature": signature}


@pytest.mark.timeout(3000)
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
        site = desk_office.site()
        receiver = Killed(
            ["-m", "upkeep.webhook", "--port", str(port)],
            environ,
            tmp_path / "receiver.log",
            lambda: _kept(site),
        )
        judge = Killed(["-m", "deployments.services"], environ, tmp_path / "judge.log", lambda: _judged(site))
        try:
            with killed_again_and_again([receiver, judge]):
                answers = _storm(desk_office, f"http://127.0.0.1:{port}/webhooks/generic", seed)
                until(lambda: _judged(site) == DISTINCT, 2400, lambda: site.deliveries.all(newest=5))
            assert set(answers) <= {200, 202}
            assert answers.count(202) <= DISTINCT, "what was kept before a kill is answered 200 when it is sent again"
            held = site.deliveries.all(newest=5000)
            assert len(held) == DISTINCT, "nothing lost, nothing kept twice"
            assert {one.fate for one in held} == {Fate.STARTED}, [
                one.reason for one in held if one.fate is not Fate.STARTED
            ][:3]
            started = _flow_runs(prefect["PREFECT_API_URL"])
            assert len(started) == DISTINCT
            assert {key.split(":")[0] for key in started} == {str(one.ref) for one in held}
            kills = (receiver.kills, judge.kills)
            assert min(kills) >= 4, f"the storm was over before both were killed: {kills}"
            site.history.close()
        finally:
            for victim in (receiver, judge):
                victim.process.kill()
                victim.process.wait()


def _kept(site: Site) -> int:
    with site.history.reading() as session:
        return session.exec(select(func.count()).select_from(DeliveryRow)).one()


def _judged(site: Site) -> int:
    with site.history.reading() as session:
        over = col(DeliveryRow.state).not_in([Fate.NEW.value, Fate.WAITING.value])
        return session.exec(select(func.count()).select_from(DeliveryRow).where(over)).one()


def _storm(desk_office: Office, url: str, seed: int) -> list[int]:
    letters = [desk_office.ticket(HOSTS, title=f"change {n}").id for n in range(DISTINCT)]
    dice = random.Random(seed)
    letters += dice.sample(letters, REPEATED)
    dice.shuffle(letters)
    with httpx.Client(timeout=20, trust_env=False) as client, ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda ticket: deliver_until_taken(client, url, ticket), letters))


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
