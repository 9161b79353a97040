"""A delivery that cannot work is refused before any host is touched (issue 4: 6)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.deliveries import Archive
from tasks.judge_delivery import judge_delivery, pull_url
from upkeep.domain.delivery import Delivery
from upkeep.domain.plan import Plan
from upkeep.domain.release import Artifact
from upkeep.errors import BadInput
from upkeep.hosts.ssh_target import SshTarget
from upkeep.services.relay import Relay
from upkeep.settings import Settings
from upkeep.wiring import Site

ARTIFACT = Artifact(arch="amd64", url="agent.tar.gz", size_bytes=100_000_000, sha256="0" * 64)


def judge(tmp_path: Path, *addresses: str, environ: dict[str, str] | None = None, **delivery: Any) -> None:
    plan = Plan.model_validate({"name": "p", "profile": "x", "release": "r", "delivery": delivery})
    site = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path), **(environ or {})}))
    targets = {address: SshTarget(name=address, address=address) for address in addresses or ("10.0.0.1",)}
    judge_delivery(site, plan, [Archive(ARTIFACT, tmp_path / "a", "")], targets)


def test_a_relay_that_other_machines_cannot_reach_is_refused_with_what_to_name(tmp_path) -> None:
    with pytest.raises(BadInput, match=r"10\.0\.0\.1 is another machine.*UPKEEP_RELAY"):
        judge(tmp_path, "127.0.0.1", "10.0.0.1", how="relay")
    judge(tmp_path, "127.0.0.1", "127.3.2.1", "::1", "localhost", how="relay")


def test_a_relay_that_cannot_listen_is_told_before_the_run(tmp_path) -> None:
    with Relay("127.0.0.1") as other:
        for named in ({"relay": other.address}, {"environ": {"UPKEEP_RELAY": other.address}}):
            with pytest.raises(BadInput, match=f"cannot listen on {other.address}"):
                judge(tmp_path, how="relay", **named)


def test_an_address_in_the_environment_that_is_none_is_told_by_name(tmp_path) -> None:
    with pytest.raises(BadInput, match=r"UPKEEP_RELAY: 'everywhere:x'"):
        judge(tmp_path, environ={"UPKEEP_RELAY": "everywhere:x"})


def test_limits_under_which_no_archive_arrives_in_time_are_refused(tmp_path) -> None:
    hosts = [f"10.0.0.{n}" for n in range(1, 41)]
    judge(tmp_path, *hosts, total_mbit=400)
    with pytest.raises(BadInput, match=r"for each of 40 hosts at once take 53 min 20 s.*raise delivery\.timeout"):
        judge(tmp_path, *hosts, total_mbit=10)


def test_hosts_pull_from_the_plans_address_else_from_the_releases_own() -> None:
    trusted: Any = SimpleNamespace(location="https://vendor.example/1.5.0/release.json")
    assert pull_url(trusted, ARTIFACT, Delivery(how="site")) == "https://vendor.example/1.5.0/agent.tar.gz"
    assert pull_url(trusted, ARTIFACT, Delivery(url="http://mirror/a.tar.gz")) == "http://mirror/a.tar.gz"
    with pytest.raises(BadInput, match=r"give delivery\.url"):
        pull_url(SimpleNamespace(location="/srv/release.json"), ARTIFACT, Delivery(how="site"))  # type: ignore[arg-type]
