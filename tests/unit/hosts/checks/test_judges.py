"""What is asked of a host, judged from what real and broken hosts print (U4, U6, U9, U10; faults 9-12, 33, 36)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.domain.comparison import before_after
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile, FileRule, Metric, Needs, Requirement, VersionProbe
from upkeep.domain.release import Release
from upkeep.hosts.checks import agent, failure_class_of, files, metrics, platform, service, storage
from upkeep.hosts.checks.log import errors, judge_log, signature
from upkeep.hosts.checks.pre_update import pre_update_questions
from upkeep.hosts.checks.stability import settled
from upkeep.hosts.question import Answer, Question
from upkeep.hosts.transport import Reply

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PROFILE = AgentProfile.model_validate(
    {
        "name": "ms-720",
        "service": {"unit": "mcp-agent.service"},
        "paths": {
            "binary": "/usr/local/bin/a",
            "releases": "/opt/a",
            "upkeep": "/var/lib/upkeep/a",
            "config": ["/etc/mcp"],
        },
        "installer": {"binary_member": "a"},
        "installed_version": {"command": ["/usr/local/bin/a", "--version"]},
        "running_version": {"url": "http://127.0.0.1/version"},
        "probes": {
            "http": [{"id": "health", "url": "http://127.0.0.1/health"}],
            "tls": [{"id": "centre", "address": "c"}],
        },
        "metrics": [
            {
                "id": "p95",
                "url": "http://127.0.0.1/metrics",
                "pattern": "p95 (\\S+)",
                "worse_by_pct": 50,
                "at_most": 0.8,
            }
        ],
        "compatibility": [{"id": "kernel", "command": ["uname", "-r"], "minimum": "5.4", "recommended": "5.15"}],
        "files": [{"path": "/etc/mcp/agent.yaml", "mode": "0644", "owner": "root"}],
        "log": {"ignore": ["harmless"]},
    },
)
PLAN = Plan(name="p", profile="ms-720", release="r", known_errors=("expected in 1.5",))
RELEASE = Release.model_validate(
    {
        "product": "ms-720",
        "version": "1.5.0",
        "release_seq": 1,
        "expires": NOW,
        "upgrade_from": ">=1.4",
        "via": "1.4.2",
        "artifacts": [{"arch": "amd64", "libc": "gnu", "url": "x", "size_bytes": 1, "sha256": "0" * 64}],
    },
)


def judge(question: Question, text: str, exit_code: int = 0) -> list[Finding]:
    found = question.judge(Answer(exit_code, text))
    return [found] if isinstance(found, Finding) else list(found)


def verdicts(question: Question, text: str, exit_code: int = 0) -> dict[str, str]:
    return {f.check: f.verdict.value for f in judge(question, text, exit_code)}


ALL = pre_update_questions(PROFILE, PLAN, RELEASE, artifact_size_bytes=1000, now=NOW)


@pytest.mark.parametrize("question", ALL, ids=lambda q: f"{q.check}:{q.subject}")
@given(text=st.text(max_size=200), exit_code=st.integers(0, 255))
def test_no_answer_whatever_makes_a_judge_break(question: Question, text: str, exit_code: int) -> None:
    for finding in judge(question, text, exit_code):
        assert finding.check
        assert finding.verdict is Verdict.PASS or finding.remedy or finding.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "question", [q for q in ALL if q.check != "host.tools"], ids=lambda q: f"{q.check}:{q.subject}"
)
def test_an_empty_answer_is_never_a_pass(question: Question) -> None:
    assert "pass" not in verdicts(question, "", 1).values()


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("5.3.18", "fail"), ("5.4.0-150-generic", "warn"), ("6.1.0-13-amd64", "pass"), ("no kernel", "unknown")],
)
def test_below_minimum_fails_and_below_recommended_warns(text: str, verdict: str) -> None:
    assert verdicts(agent.requirement(PROFILE.compatibility[0]), text) == {"compat.kernel": verdict}


def test_a_missing_program_of_the_matrix_is_unknown_with_a_remedy() -> None:
    row = Requirement(id="etcd", command=("etcd", "--version"), minimum="3.5", remedy="install etcd 3.5")
    finding = judge(agent.requirement(row), "sh: etcd: not found", 127)[0]
    assert (finding.verdict, finding.remedy) == (Verdict.UNKNOWN, "install etcd 3.5")


@pytest.mark.parametrize(
    ("text", "path"), [("a 1.4.2", "pass"), ("a v1.3.9", "fail"), ("a 1.5.0", "pass"), ("a 1.6.0", "fail")]
)
def test_the_upgrade_path_is_judged_from_the_installed_version(text: str, path: str) -> None:
    assert verdicts(agent.installed(PROFILE.installed_version, RELEASE), text)["agent.upgrade_path"] == path


def test_a_stepping_stone_is_named() -> None:
    findings = judge(agent.installed(PROFILE.installed_version, RELEASE), "a 1.3.9")
    assert "go to 1.4.2 first" in findings[1].reason


def test_the_running_version_must_be_the_expected_one() -> None:
    question = agent.running(VersionProbe(url="http://x"), "1.5.0")
    assert verdicts(question, '{"version": "1.5.0"}') == {"agent.running_version": "pass"}
    assert verdicts(question, '{"version": "1.4.2"}') == {"agent.running_version": "fail"}
    assert verdicts(question, "", 7) == {"agent.running_version": "unknown"}


@pytest.mark.parametrize(
    ("machine", "verdict"), [("x86_64\ngnu", "pass"), ("x86_64\nmusl", "fail"), ("riscv64\ngnu", "fail")]
)
def test_a_host_without_an_archive_for_it_is_left_out(machine: str, verdict: str) -> None:
    assert verdicts(platform.architecture(RELEASE), machine) == {"host.arch": verdict}


DF = "/dev/vda1 {total} 1 {free} 1% /"


@pytest.mark.parametrize(("free", "verdict"), [(200_000, "pass"), (0, "fail"), (60_000, "fail")])
def test_disk_space_is_needed_for_old_new_and_backup(free: int, verdict: str) -> None:
    space = next(q for q in storage.questions(PROFILE, 1000) if q.check == "host.disk.free")
    assert verdicts(space, DF.format(total=999999, free=free)) == {"host.disk.free": verdict}


@pytest.mark.parametrize(("total", "free", "verdict"), [(1000000, 5000, "pass"), (1000000, 3, "fail"), (0, 0, "pass")])
def test_inodes_count_where_the_file_system_counts_them(total: int, free: int, verdict: str) -> None:
    inodes = next(q for q in storage.questions(PROFILE, 1000) if q.check == "host.disk.inodes")
    assert verdicts(inodes, DF.format(total=total, free=free)) == {"host.disk.inodes": verdict}


def test_a_read_only_or_noexec_mount_is_seen() -> None:
    mount = next(
        q for q in storage.questions(PROFILE, 1000) if q.subject == "/opt/a" and q.check == "host.mount.writable"
    )
    assert verdicts(mount, "/dev/x / ext4 rw,noexec 0 0") == {"host.mount.writable": "pass", "host.mount.exec": "fail"}
    assert verdicts(mount, "/dev/x / ext4 ro,relatime 0 0") == {
        "host.mount.writable": "fail",
        "host.mount.exec": "pass",
    }


@pytest.mark.parametrize(("offset", "verdict"), [(0, "pass"), (20, "pass"), (-86400, "fail"), (86400, "fail")])
def test_a_clock_a_day_off_is_seen(offset: int, verdict: str) -> None:
    assert verdicts(platform.clock(Needs(), NOW), str(int(NOW.timestamp()) + offset)) == {"host.clock.skew": verdict}


def test_a_share_of_nothing_is_unknown_unless_a_limit_in_numbers_is_given() -> None:
    limited = PROFILE.model_copy(
        update={"metrics": tuple(m.model_copy(update={"at_most": None}) for m in PROFILE.metrics)}
    )
    key = f"metric.{PROFILE.metrics[0].id}"

    def figure(value: float) -> Finding:
        return Finding(check=key, verdict=Verdict.PASS, reason="read", value=value)

    (unknown,) = metrics.compared(limited, [figure(0)], [figure(0.5)])
    assert (unknown.verdict, unknown.blocks) == (Verdict.UNKNOWN, True)
    assert "at_most" in unknown.remedy
    assert metrics.compared(limited, [figure(0)], [figure(0)])[0].verdict is Verdict.PASS
    assert metrics.compared(PROFILE, [figure(0)], [figure(0.5)])[0].verdict is Verdict.PASS


def test_memory_and_load_are_compared_with_what_the_profile_needs() -> None:
    assert verdicts(platform.memory(Needs()), "MemAvailable: 1000 kB") == {"host.memory": "fail"}
    assert verdicts(platform.memory(Needs()), "MemAvailable: 900000 kB") == {"host.memory": "pass"}
    assert verdicts(platform.load(Needs()), "9.0 1 1 1/1 1\n2") == {"host.load": "fail"}


SHOWN = "LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=0\nMainPID=7\nResult=success\nUnitFileState=enabled\nNeedDaemonReload=no"


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (("", ""), set()),
        (("LoadState=loaded", "LoadState=masked"), {"service.masked"}),
        (("LoadState=loaded", "LoadState=not-found"), {"service.loaded"}),
        (("Result=success", "Result=start-limit-hit"), {"service.start_limit"}),
        (("NeedDaemonReload=no", "NeedDaemonReload=yes"), {"service.unit_drift"}),
        (("ActiveState=active", "ActiveState=activating"), {"service.active"}),
    ],
)
def test_each_trouble_of_a_unit_has_its_own_finding(change: tuple[str, str], failing: set[str]) -> None:
    found = verdicts(service.service(PROFILE.service), SHOWN.replace(*change) if change[0] else SHOWN)
    assert {check for check, verdict in found.items() if verdict == "fail"} == failing


def test_mode_and_owner_are_compared() -> None:
    rule = FileRule(path="/etc/x", mode="0600", owner="mcp")
    assert verdicts(files.file(rule), "600 mcp:mcp") == {"file.mode": "pass", "file.owner": "pass"}
    assert verdicts(files.file(rule), "644 root:root") == {"file.mode": "fail", "file.owner": "fail"}
    assert verdicts(files.file(rule), "absent", 1) == {"file.mode": "fail"}


@pytest.mark.parametrize(
    ("lock", "verdict"),
    [
        ("", "pass"),
        ("run=other\nowner=bob\nreason=night\nsince=100\nuntil=2000", "fail"),
        ("run=other\nuntil=900", "pass"),
        ("run=mine\nuntil=2000", "pass"),
    ],
)
def test_a_live_lock_of_another_run_keeps_out_with_who_why_and_until_when(lock: str, verdict: str) -> None:
    finding = judge(agent.lock("/u", "mine"), f"now=1000\n{lock}")[0]
    assert finding.verdict.value == verdict
    if verdict == "fail":
        assert all(text in finding.reason for text in ("other", "bob", "night", "1970-01-01 00:33:20 UTC"))


def test_known_lines_are_left_out_and_kinds_of_errors_are_folded() -> None:
    log = "ERROR harmless\nERROR expected in 1.5\nINFO fine\n2026-11-21T10:00:00Z ERROR request 42 took 17.5 s\n2026-11-21T11:00:00Z ERROR request 43 took 1 s"
    finding = judge_log(PROFILE, PLAN, Answer(0, log))
    assert (finding.verdict, finding.value) == (Verdict.FAIL, 2)
    assert finding.signatures == ("<time> ERROR request <n> took <n> s",)
    assert errors(PROFILE, PLAN, since="start").check == "log.errors"


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="0123456789"), max_size=80))
def test_lines_that_differ_in_numbers_only_are_of_one_kind(text: str) -> None:
    assert signature(f"{text} 1") == signature(f"{text} 22")


def test_a_figure_that_got_worse_than_its_limit_fails_against_the_hosts_own_baseline() -> None:
    def figure(value: float) -> Finding:
        return judge(metrics.metric(PROFILE.metrics[0]), f"p95 {value}")[0]

    assert metrics.compared(PROFILE, [figure(0.10)], [figure(0.14)])[0].verdict is Verdict.PASS
    assert metrics.compared(PROFILE, [figure(0.10)], [figure(0.16)])[0].verdict is Verdict.FAIL
    assert metrics.compared(PROFILE, [], [figure(0.9)])[0].verdict is Verdict.FAIL, "over its own limit"
    assert metrics.compared(PROFILE, [figure(0)], [figure(0.5)])[0].verdict is Verdict.PASS, (
        "from zero nothing can be said in per cent"
    )
    row = before_after([figure(0.1)], [figure(0.2)])[0]
    assert row.cells() == ("metric.p95", "0.1", "0.2", "+100 %", "pass")


def test_higher_may_be_better() -> None:
    wanted = Metric(id="rate", command=("x",), pattern=r"(\d+)", worse_by_pct=10, higher_is_worse=False)
    profile = PROFILE.model_copy(update={"metrics": (wanted,)})
    before, after = (judge(metrics.metric(wanted), text)[0] for text in ("100", "80"))
    assert metrics.compared(profile, [before], [after])[0].verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("result=stable\nheld=3", "pass"),
        ("result=failed\nResult=exit-code", "fail"),
        ("result=crashing", "fail"),
        ("result=deadline", "fail"),
        ("", "unknown"),
    ],
)
def test_how_a_unit_settled_is_told(text: str, verdict: str) -> None:
    assert settled("u.service", PLAN, Reply(0, text.encode(), "", 1)).verdict.value == verdict


def test_lack_of_room_or_network_is_counted_as_environment() -> None:
    def of(check: str) -> FailureClass:
        return failure_class_of(Finding(check=check, verdict=Verdict.FAIL, reason="r"))

    assert of("host.disk.free") is of("net.tcp.x") is of("host.clock.skew") is FailureClass.ENVIRONMENT
    assert of("service.masked") is of("compat.kernel") is of("host.lock") is FailureClass.PRECHECK


def test_room_and_mounts_of_all_folders_asked_at_once_are_found_as_they_are_one_by_one() -> None:
    asked = storage.questions(PROFILE, 1000)
    at_once = storage.all_at_once(asked)
    kib = "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
    lines = {question.subject: f"/dev/{n} 9 1 {n} 1% /at {n}\n" for n, question in enumerate(asked)}
    mounts = "".join(
        f"/dev/{n} /at {n} ext4 rw 0 0\n" for n in dict.fromkeys(line.split()[-1] for line in lines.values())
    )
    text = f"{kib}{''.join(lines.values())}\n{kib}{''.join(lines.values())}\n{mounts}"
    found = at_once.judge(Answer(0, text))
    told = {f.key: f.reason for f in found}  # type: ignore[union-attr]
    for question in asked:
        number = lines[question.subject].split()[-1]
        alone = (
            f"/dev/{number} /at {number} ext4 rw 0 0"
            if question.check == "host.mount.writable"
            else kib + lines[question.subject]
        )
        judged = question.judge(Answer(0, alone))
        for finding in judged if isinstance(judged, list) else [judged]:
            assert told.pop(finding.key) == finding.reason
    assert not told


@given(st.text(max_size=200))
def test_no_answer_of_df_makes_an_error(text: str) -> None:
    found = storage.all_at_once(storage.questions(PROFILE, 1000)).judge(Answer(0, text))
    assert found
