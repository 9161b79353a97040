"""The catalogue of checks: its page, its files, and that it knows every check that code asks (issue 7: 1; U12; peers 35)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from upkeep.commands.check_page import page
from upkeep.commands.checking import explanation
from upkeep.documents import load_catalogue
from upkeep.domain.check import CONTROLLER, Check, Line, judge
from upkeep.domain.finding import Verdict
from upkeep.domain.plan import Plan
from upkeep.domain.profile import AgentProfile
from upkeep.domain.release import Release
from upkeep.errors import BadInput
from upkeep.hosts.checks.pre_update import pre_update_questions
from upkeep.hosts.verification import _questions

ROOT = Path(__file__).parents[2]
CATALOGUE = load_catalogue()


def test_the_page_is_as_the_catalogue_is() -> None:
    assert (ROOT / "docs/checks.md").read_text("utf-8") == page(CATALOGUE), "upkeep checks page > docs/checks.md"


def test_there_are_at_least_sixty_checks_and_each_has_question_remedy_and_requirement() -> None:
    own = [check for check in CATALOGUE.checks if not check.built_in]
    assert len(own) >= 60
    assert [check.id for check in own if not (check.asks.endswith("?") and check.remedy and check.serves)] == []
    assert len({check.id for check in CATALOGUE.checks}) == len(CATALOGUE.checks)


def test_every_look_a_check_reads_is_there() -> None:
    looks = {path.stem for path in (ROOT / "upkeep/hosts/looks").glob("*.sh")}
    assert {check.look for check in CATALOGUE.checks if check.look} <= looks | {CONTROLLER}


def test_code_named_in_the_catalogue_is_there() -> None:
    named = {check.built_in for check in CATALOGUE.checks if check.built_in}
    assert [name for name in named if not ((ROOT / "upkeep" / name).exists() or (ROOT / name).exists())] == []


PROFILE = AgentProfile.model_validate(
    {
        "name": "a",
        "service": {"unit": "a.service"},
        "paths": {"binary": "/b", "releases": "/r", "upkeep": "/u", "config": ["/c"]},
        "installer": {"binary_member": "a"},
        "installed_version": {"command": ["true"]},
        "running_version": {"command": ["true"]},
        "probes": {
            "http": [{"id": "x", "url": "http://x"}],
            "tcp": [{"id": "x", "address": "x", "port": 1}],
            "dns": [{"id": "x", "name": "x"}],
            "tls": [{"id": "x", "address": "x"}],
            "command": [{"id": "x", "command": ["x"]}],
        },
        "metrics": [{"id": "x", "command": ["x"], "pattern": "(x)"}],
        "compatibility": [{"id": "x", "command": ["x"]}],
        "files": [{"path": "/x", "mode": "0644"}],
    }
)
RELEASE = Release.model_validate(
    {
        "product": "a",
        "version": "1.0",
        "release_seq": 1,
        "expires": datetime.now(UTC),
        "artifacts": [{"arch": "amd64", "url": "a", "size_bytes": 1, "sha256": "0" * 64}],
        "upgrade_from": ">=0.1",
    }
)


@pytest.mark.parametrize("purpose", ["pre-update", "verification"])
def test_every_check_that_code_asks_is_in_the_catalogue_for_what_it_is_asked(purpose: str) -> None:
    plan = Plan(name="p", profile="a", release="r")
    before = pre_update_questions(PROFILE, plan, RELEASE, artifact_size_bytes=1, now=datetime.now(UTC))
    asked = before if purpose == "pre-update" else _questions(PROFILE, plan, since="start")
    alone = [one for question in asked for one in (question.parts or (question,))]
    entries = {question.check: CATALOGUE.find(question.check) for question in alone}
    assert [name for name, entry in entries.items() if entry is None and name != "log.errors"] == []
    assert [name for name, entry in entries.items() if entry and purpose not in entry.purposes] == []


def site_file(folder: Path, text: str) -> Path:
    path = folder / "checks.yaml"
    path.write_text(text)
    return path


def test_a_site_adds_checks_changes_limits_and_switches_checks_off(tmp_path: Path) -> None:
    text = """\
checks:
  - {id: site.queue.depth, asks: Do messages pile up?, script: echo 5, warn: {above: 3}, remedy: look}
adjust:
  host.disk.used: {warn: {above: 50}}
  agent.user: {off: true}
"""
    catalogue = load_catalogue([site_file(tmp_path, text), tmp_path / "not-there.yaml"])
    asked = {check.id: check for check in catalogue.asked("inspection", {})}
    assert "agent.user" not in asked
    assert "site.queue.depth" in asked
    changed, before = asked["host.disk.used"], CATALOGUE.find("host.disk.used")
    assert before is not None
    assert (changed.warn.above if changed.warn else None, changed.fail, changed.trend) == (
        50,
        before.fail,
        before.trend,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("checks: [{id: Bad Id, asks: x, script: y, warn: {above: 1}}]", ["checks.yaml:1", "checks[0].id", "Bad Id", "lower case words"]),
        ("checks: [{id: a.b, asks: x}]", ["checks[0]", "asks in 0 ways", "exactly one of"]),
        ("checks: [{id: a.b, asks: x, script: y}]", ["nothing says which answer is good"]),
        ("checks: [{id: a.b, asks: x, script: y, warn: {}}]", ["says nothing", "above: NUMBER"]),
        ("checks: [{id: a.b, asks: x, script: y, wran: {above: 1}}]", ["wran", "warn"]),
        ("checks: [{id: a.b, asks: x, look: krenel, good: x}]", ["a.b.look", "krenel", "kernel"]),
        ("adjust: {host.disk.usd: {off: true}}", ["host.disk.usd", "did you mean 'host.disk.used'"]),
        ("checks: [{id: a.b, asks: x, script: y, good: '('}]", ["not a regular expression"]),
    ],
)  # fmt: skip
def test_a_file_of_checks_that_cannot_be_used_says_where_what_and_what_is_allowed(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    with pytest.raises(BadInput) as error:
        load_catalogue([site_file(tmp_path, text)])
    assert [part for part in said if part not in str(error.value)] == []


def test_a_check_that_needs_a_variable_is_asked_only_of_hosts_that_have_it(tmp_path: Path) -> None:
    text = "checks: [{id: a.b, asks: x, script: y, good: x, needs: [broker]}]"
    catalogue = load_catalogue([site_file(tmp_path, text)])
    ids = [{check.id for check in catalogue.asked("inspection", variables)} for variables in ({}, {"broker": "b"})]
    assert ["a.b" in one for one in ids] == [False, True]


def test_no_answer_and_no_number_are_unknown_never_good() -> None:
    check = Check(id="a.b", asks="x", script="x", warn={"above": 1})  # type: ignore[arg-type]
    assert [finding.verdict for finding in judge(check, [])] == [Verdict.UNKNOWN]
    assert judge(check, [Line("many")])[0].verdict is Verdict.UNKNOWN
    assert judge(check, [Line("nan")])[0].verdict is Verdict.UNKNOWN


def test_a_limit_itself_is_still_good() -> None:
    check = Check(id="a.b", asks="x", script="x", warn={"above": 1}, fail={"above": 2, "below": 0})  # type: ignore[arg-type]
    verdicts = [judge(check, [Line(value)])[0].verdict.value for value in ("0", "1", "1.5", "2", "2.1", "-1")]
    assert verdicts == ["pass", "pass", "warn", "warn", "fail", "fail"]


def test_explaining_a_check_says_how_it_is_asked_when_it_warns_and_what_to_do() -> None:
    check = CATALOGUE.find("host.disk.used")
    assert check is not None
    text = "\n".join(explanation(check))
    for part in (
        "looks/disks.sh",
        "at most 85 %",
        "at most 95 %",
        "within 14 days",
        "du -xh",
        "U12",
        "never counted as healthy",
    ):
        assert part in text
