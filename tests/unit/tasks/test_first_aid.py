"""First aid for a failed install or backup: slow link, disk, port, dependency, permission, configuration told apart, with figures.

Issue 7: 4; U8 B1. The looks run for real on a made-up host; all cases run in tests/endurance/test_first_aid.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.diagnose_host import words
from tasks.first_aid import judged
from tests.unit.hosts.checks.made_up_host import GOOD, World, proc
from tests.unit.tasks.test_diagnose_host import CENTRE, DF, FILES, PROGRAMS_OF_A_GOOD_WAY, STATUS, log, state
from upkeep.documents import load_catalogue
from upkeep.documents.causes import load_causes
from upkeep.domain.diagnosis import Diagnosis, diagnose
from upkeep.domain.finding import Finding, Verdict
from upkeep.hosts.inspection import inspect_host

GOOD_LINK = judged(1 << 20, 0.2)


@dataclass(frozen=True)
class Case:
    """One cause planted on a host where an install failed."""

    cause: str
    files: dict[str, str | None] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)
    failed: str = "step fetch: it failed"
    link: Finding = GOOD_LINK


def dd(does: str) -> dict[str, str]:
    """A dd that does this when Upkeep measures the disk; scripts come to the host through the real one."""
    return {"dd": f'case "$*" in *upkeep-speed*) {does} ;; *) exec /bin/dd "$@" ;; esac'}


def said_by_dd(text: str) -> dict[str, str]:
    return dd(f"echo 'dd: error writing: {text}' >&2; exit 1")


CASES = [
    Case("slow-link", link=judged(300_000, 8.0), failed="step fetch: the download took longer than its time limit"),
    Case("slow-disk", programs=dd("exec /bin/sleep 6"), files={"said/stat-later": "cpu  100 0 100 1040 70 0 0 0 0 0\n"}),
    Case("disk-full", {"said/df-k": DF + "/dev/vda1 ext4 1000 1000 0 100% /\n"}, said_by_dd("No space left on device"), "step backup: No space left on device"),
    Case("disk-read-only", {"proc/mounts": "/dev/vda1 / ext4 ro,relatime 0 0\n"}, said_by_dd("Read-only file system")),
    Case("permission", programs=said_by_dd("Permission denied"), failed="step backup: Permission denied"),
    Case("permission", log("open /var/log/agent: permission denied"), failed="step switch: the service did not start"),
    Case("configuration", log("agent.yaml:3: 'sever' is not a key"), failed="step fetch: the new version rejects the configuration"),
    Case("dependency", log("dial tcp 10.0.0.7:5432: connection refused"), failed="step verify: net.http.database: it is not ready"),
    Case("blocked-port", programs={"bash": "exit 124"}, failed="step verify: net.tcp.control-centre: no answer"),
    Case("name", programs={"getent": "exit 2"}, failed="step fetch: could not resolve host"),
    Case("out-of-memory", {**proc("status", STATUS), "proc/meminfo": "MemTotal: 1000000 kB\nMemAvailable: 9000 kB\n"}, failed="step switch: Cannot allocate memory"),
    Case("crashes", state(ActiveState="failed", SubState="failed", Result="start-limit-hit"), failed="step switch: it keeps crashing"),
]  # fmt: skip
QUICK = [case for case in CASES if case.cause in {"slow-link", "disk-full", "configuration"}]


def aided(case: Case, folder: Path) -> Diagnosis:
    world = World(folder, {**PROGRAMS_OF_A_GOOD_WAY, **case.programs})
    world.write({**GOOD, **FILES, **case.files, "said/chain": ""})
    profile = world.profile(f"https://{CENTRE}:8443")
    now = datetime.now(UTC)
    seen = inspect_host(
        world.transport(),
        profile,
        load_catalogue(),
        {"upkeep_folder": str(folder)},
        now=now,
        purpose="diagnosis",
    )
    failed = Finding(check="aid.failed", verdict=Verdict.FAIL, reason=case.failed, remedy="see")
    return diagnose(load_causes("first_aid"), [*seen.findings, failed, case.link])


def judge_case(case: Case, folder: Path) -> None:
    found = aided(case, folder)
    assert [one.cause.id for one in found.suspicions][:1] == [case.cause], words("h1", found)


@pytest.mark.parametrize("case", QUICK, ids=[case.cause for case in QUICK])
def test_the_cause_of_a_failed_install_is_named_first(case: Case, tmp_path: Path) -> None:
    judge_case(case, tmp_path)


def test_the_measured_figures_are_told() -> None:
    assert (judged(1 << 20, 0.5).verdict, judged(1 << 20, 2.0).verdict) == (Verdict.PASS, Verdict.WARN)
    slow = judged(250_000, 8.0)
    assert slow.verdict is Verdict.FAIL
    assert slow.reason == "250000 bytes to the host in 8.0 s: 0.2 Mbit/s, at least 8 is accepted"


def test_writing_is_measured_on_the_host_and_leaves_nothing_behind(tmp_path: Path) -> None:
    found = aided(Case("", failed="nothing that is known"), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in names if "upkeep-speed" in name]
    resources = next(layer for layer in found.layers if layer.layer.value == "resources")
    (written,) = [finding for finding in resources.findings if finding.check == "aid.disk_write"]
    assert written.value is not None
    assert "MiB/s (8 MiB to" in written.reason


def test_every_cause_of_first_aid_has_a_case_or_needs_no_host() -> None:
    known = {cause.id for cause in load_causes("first_aid").causes}
    assert {case.cause for case in CASES} <= known
    assert sorted(known - {case.cause for case in CASES}) == ["host-unreachable", "login", "proxy"]
