"""What a diagnosis names is removed on real hosts, through the command line, approved and verified (issue 7: 3; C4 C6 D7 D11)."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.endurance.machines.controller import Controller
from tests.endurance.machines.site import Host, Planted, planted_causes

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1800), pytest.mark.xdist_group("machines")]

PLANTED = {case.id: case for case in planted_causes()[0]}
SLOW_HEARTBEATS = Planted(
    "session-timeout",
    plant="sed -i 's/^heartbeat_interval.*/heartbeat_interval: 4/' $CONFIG; systemctl restart link-agent",
    centre={"ends_sessions": 2.5, "counts_heartbeats": True},
    says="reset by peer|EOF occurred|Broken pipe",
    online=True,
)
TOGETHER = [
    {"h1": ("stopped", "start"), "h2": ("permission", "permissions"), "h3": ("bad-configuration", "configuration"), "h4": ("agent-trust", "chain")},
    {"h1": ("hanging", "restart"), "h2": ("wrong-address", "configuration"), "h3": ("chain-incomplete", "chain"), "h4": (SLOW_HEARTBEATS, "interval")},
]  # fmt: skip


def planted(host: Host, which: str | Planted) -> Planted:
    case = PLANTED[which] if isinstance(which, str) else which
    host.plant(case)
    return case


@pytest.mark.parametrize("faults", TOGETHER, ids=["first four", "other four"])
def test_repairs_remove_causes_on_real_hosts_and_the_agents_are_online_again(
    site: Controller, faults: dict[str, tuple[str | Planted, str]]
) -> None:
    cases = {host.name: planted(host, faults[host.name][0]) for host in site.hosts}
    try:
        code, report = site.run("connection_diagnosis", "--hosts", ",".join(faults), "--set", "apply=true")
        said = {name: result["reason"] for name, result in report["hosts"].items()}
        for host in site.hosts:
            case, (_, kind) = cases[host.name], faults[host.name]
            assert said[host.name].startswith(f"repaired: {case.cause} ({kind})"), said
            assert host.centre.online(host.name), said
        assert code == 0, report
    finally:
        for host in site.hosts:
            host.heal(cases[host.name])


def test_a_repair_waits_for_its_approval_is_resumed_and_verified(site: Controller) -> None:
    site.plan(approvals={"needed": 1})
    host = site.hosts[0]
    planted(host, "stopped")
    code, report = site.run("connection_diagnosis", "--hosts", "h1", "--set", "apply=true")
    assert (code, "waits for the approval of stage 'repairs'" in report["reason"]) == (5, True), report
    assert host.sh("systemctl is-active $UNIT || true").strip() == "inactive", "nothing is repaired before the approval"
    token = site("people", "add", "bob", "--role", "approver").stdout.strip()
    early = site("resume", report["run"])
    assert early.returncode != 0, "not approved yet"
    approved = site("approve", report["run"], UPKEEP_TOKEN=token)
    assert (approved.returncode, "that is enough" in approved.stdout) == (0, True), approved.stderr
    code, resumed = site.json("resume", report["run"])
    assert code == 0, resumed
    assert resumed["hosts"]["h1"]["reason"].startswith("repaired: stopped (start)"), resumed
    assert host.sh("systemctl is-active $UNIT").strip() == "active"
    assert host.centre.online("h1")
    code, after = site.run("connection_diagnosis", "--hosts", "h1")
    assert code == 0, after


def test_a_raised_log_level_is_put_back_by_a_timer_of_systemd_when_the_controller_is_killed(site: Controller) -> None:
    level = {"path": "/etc/link-agent/agent.yaml", "reload": "systemctl reload link-agent"}
    site.plan(log_level=level)
    host = site.hosts[0]
    case = planted(host, "login")
    words = site.words("run", "connection_diagnosis", *site.documents, "--hosts", "h1", "--set", "level=5s")
    try:
        with Path(os.devnull).open("wb") as nowhere:
            run = subprocess.Popen(
                words, env=site.environment(), stdout=nowhere, stderr=nowhere, start_new_session=True
            )
        host.await_(lambda: "log_level: DEBUG" in host.sh("cat $CONFIG"), "the level is raised")
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        timers = host.sh("systemctl list-timers --all --no-legend 'upkeep-level-*'; ls /etc/systemd/system")
        assert "upkeep-level-link-agent.timer" in timers, timers
        host.await_(lambda: "log_level: INFO" in host.sh("cat $CONFIG"), "the host puts the level back by itself")
        host.await_(lambda: "upkeep-level" not in host.sh("ls -R /etc/systemd/system"), "the timer removes itself")
        assert host.sh("systemctl --failed --no-legend --plain") == ""
        assert "log level INFO" in host.journal(), "the agent read it"
    finally:
        host.heal(case)


def test_a_failing_host_is_drained_by_the_sites_hook_and_put_back_when_it_is_healthy_and_no_other(
    site: Controller,
) -> None:
    pool = site.folder / "pool"
    pool.mkdir()
    out = f"{pool}/{{{{ host }}}}"
    hooks = {
        "drain": {"command": ["sh", "-c", 'echo "{{ address }}" >"$0"', out]},
        "restore": {"command": ["rm", out]},
        "asks": {"command": ["sh", "-c", '[ ! -e "$0" ] || echo drained', out]},
    }
    site.plan(isolation={**hooks, "healthy_for": "1s", "at_most_pct": 25})
    host = site.hosts[1]
    (pool / "h3").write_text("by hand")
    code, _ = site.run("health_inspection")
    assert (code, drained(pool)) == (0, ["h3"])
    case = planted(host, "stopped")
    try:
        code, first = site.run("health_inspection")
        assert (code, drained(pool)) == (1, ["h2", "h3"]), first
        assert (pool / "h2").read_text().strip() == host.machine.address
        assert "h2 was taken out of service" in first["reason"], first
    finally:
        host.heal(case)
    for _ in range(3):  # healthy once, and again a second later
        code, report = site.run("health_inspection")
        if "h2" not in drained(pool):
            break
    assert drained(pool) == ["h3"], "what somebody else took out is not put back"
    assert (pool / "h3").read_text() == "by hand"
    assert f"h2 was put back into service, taken out by run {first['run']} of {getpass.getuser()}" in report["reason"]


def drained(pool: Path) -> list[str]:
    """Who is out of service."""
    return sorted(path.name for path in pool.iterdir())
