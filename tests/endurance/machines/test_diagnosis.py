"""Causes planted on real systemd hosts are named first, with evidence and remedy (issue 7: 3; C2 C6). The cases: planted_causes.yaml."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest

from tasks.diagnose_host import result_of, words
from tests.endurance.machines.site import Host, Planted, planted_causes
from tests.unit.tasks.test_diagnose_host import CASES as MADE_UP
from upkeep.documents.causes import load_causes
from upkeep.domain.change import HostOutcome
from upkeep.domain.diagnosis import Diagnosis

pytestmark = [pytest.mark.machines, pytest.mark.timeout(3600), pytest.mark.xdist_group("machines")]

CASES, ELSEWHERE = planted_causes()


@dataclass(frozen=True)
class Told:
    host: str
    found: Diagnosis
    seconds: float


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest, hosts: list[Host]) -> dict[str, Future[Told]]:
    """All cases of this test run, as many side by side as there are hosts."""
    wanted = {item.callspec.params["case"].id for item in request.session.items if "case" in getattr(getattr(item, "callspec", None), "params", {})}  # fmt: skip
    free: SimpleQueue[Host] = SimpleQueue()
    for host in hosts:
        free.put(host)
    pool = ThreadPoolExecutor(len(hosts))
    return {case.id: pool.submit(_tried, case, free) for case in CASES if case.id in wanted}


def _tried(case: Planted, free: SimpleQueue[Host]) -> Told:
    host = free.get()
    try:
        try:
            host.plant(case)
            began = time.monotonic()
            found = host.diagnosed()
            return Told(host.name, found, time.monotonic() - began)
        finally:
            host.heal(case)
    finally:
        free.put(host)


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_cause_planted_on_a_real_host_comes_first_with_evidence_and_remedy(
    case: Planted, told: dict[str, Future[Told]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    answer = told[case.id].result()
    said = words(answer.host, answer.found)
    _keep(tmp_path_factory.getbasetemp(), case, answer, said)
    ranked = [one.cause.id for one in answer.found.suspicions]
    if not case.cause:
        assert result_of(answer.found).outcome is HostOutcome.PASSED, said
        assert ranked == [], said
        return
    if case.also:
        assert set(ranked[:2]) == {case.cause, case.also}, said
        return
    assert ranked[:1] == [case.cause], said
    likely = answer.found.suspicions[0]
    assert likely.evidence
    assert likely.confidence > 0.5, said
    assert likely.cause.remedy in said
    assert case.cause in result_of(answer.found).reason


def _keep(folder: Path, case: Planted, answer: Told, said: str) -> None:
    with (folder / "diagnosed.txt").open("a", encoding="utf-8") as file:
        file.write(f"== {case.id}: {answer.seconds:.1f} s\n{said}\n")


def test_every_cause_is_planted_on_a_real_host_or_it_is_said_why_it_cannot_be() -> None:
    planted = {cause for case in CASES for cause in (case.cause, case.also) if cause}
    assert planted | set(ELSEWHERE) == {cause.id for cause in load_causes().causes}
    assert not planted & set(ELSEWHERE)
    assert set(ELSEWHERE) <= {case.cause for case in MADE_UP}, "what cannot be planted here is on the made-up host"
    assert all(ELSEWHERE.values())
