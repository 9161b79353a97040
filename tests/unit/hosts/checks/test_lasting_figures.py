"""A figure that is worse for one moment puts no host back; one that stays worse does (issue 3; U10; faults 39, 41)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.hosts.checks.test_judges import PROFILE
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import Metric
from upkeep.hosts.checks.metrics import LOOKS_AGAIN, lasting
from upkeep.hosts.local import LocalTransport

AT_ONCE = timedelta(0)


def figure(value: float, verdict: Verdict = Verdict.PASS) -> Finding:
    return Finding(check="metric.p95", verdict=verdict, reason="", value=value)


@pytest.fixture
def looked(tmp_path: Path) -> Path:
    return tmp_path / "looked"


def asked_of(looked: Path, *answers: str, at_most: float | None = None) -> list[Finding]:
    """What is found when the host answers so when it is asked again and again; it was 0.1 before, and 0.9 after the change."""
    script = f"read -r n <{looked} || n=0; n=$((n + 1)); echo $n >{looked}; set -- {' '.join(answers)}; shift $((n - 1)); echo p95 $1"
    wanted = Metric(id="p95", command=("sh", "-c", script), pattern=r"p95 (\S+)", worse_by_pct=50, at_most=at_most)
    profile = PROFILE.model_copy(update={"metrics": (wanted,)})
    looked.write_text("0\n")
    other = Finding(check="service.active", verdict=Verdict.PASS, reason="active")
    return lasting(LocalTransport("h1"), profile, [figure(0.1)], [other, figure(0.9)], become=False, apart=AT_ONCE)


def test_a_figure_that_was_worse_for_a_moment_is_good_and_asked_no_further(looked: Path) -> None:
    service, now = asked_of(looked, "0.8", "0.12", "9")
    assert (now.verdict, now.value, service.check) == (Verdict.PASS, 0.12, "service.active")
    assert looked.read_text() == "2\n"


def test_a_figure_that_stays_worse_fails_and_says_how_often_it_was_looked_at(looked: Path) -> None:
    service, now = asked_of(looked, "0.8", "0.7", "0.6", "0.1")
    assert (now.verdict, now.value, service.verdict) == (Verdict.FAIL, 0.6, Verdict.PASS)
    assert now.reason.endswith(f"so in {LOOKS_AGAIN + 1} looks in a row")
    assert looked.read_text() == f"{LOOKS_AGAIN}\n"


def test_a_figure_over_its_own_limit_is_asked_again_as_well(looked: Path) -> None:
    assert asked_of(looked, "0.14", at_most=0.2)[1].verdict is Verdict.PASS
    assert asked_of(looked, "0.3", "0.3", "0.3", at_most=0.2)[1].verdict is Verdict.FAIL


def test_a_figure_that_falls_silent_is_unknown_not_good(looked: Path) -> None:
    assert asked_of(looked, "0.8", "soon", "0.1")[1].verdict is Verdict.UNKNOWN


def test_good_figures_are_not_asked_again() -> None:
    host = LocalTransport("h1")
    host.close()
    found = [Finding(check="service.active", verdict=Verdict.FAIL, reason="down"), figure(0.1)]
    assert lasting(host, PROFILE, [figure(0.1)], found, become=False) == found
