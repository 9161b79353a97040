"""An agent's settings across file, drop-ins, environment and remote source, and whether those that belong together fit (issue 7: 1; U8 B10 C2 C3)."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.unit.hosts.checks.made_up_host import CATALOGUE, GOOD, PID, World
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.setting import Setting
from upkeep.hosts.checks.catalogued import head, questions
from upkeep.hosts.question import ask

CHECKS = [check for check in CATALOGUE.values() if check.look == "setting"]
SANE = {"heartbeat_interval": "30", "heartbeat_timeout": "75s", "keep_alive": "30", "session_timeout": "5m"}
SYNC = {"sync_interval": "2m", "sync_retries": "3", "sync_timeout": "5s"}
WARN, FAIL, PASS, UNKNOWN = Verdict.WARN, Verdict.FAIL, Verdict.PASS, Verdict.UNKNOWN


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.write(GOOD)
    return made


def asked(world: World, **settings: dict[str, object]) -> dict[str, Finding]:
    """What is found of these settings, by check and subject."""
    filled = {
        name: {k: v.replace("@ROOT@", str(world.root)) if isinstance(v, str) else v for k, v in one.items()}
        for name, one in settings.items()
    }
    found = ask(world.transport(), questions(CHECKS), head=head(world.profile(settings=filled)))
    return {finding.key: finding for finding in found}


def in_file(**values: str) -> dict[str, dict[str, object]]:
    """Settings that stand in the agent's file, one a line."""
    return {name: {"file": "@ROOT@/agent/etc/agent.yaml", "pattern": f"^{name}:"} for name in values}


def with_file(world: World, **values: str) -> dict[str, Finding]:
    world.write({"agent/etc/agent.yaml": "".join(f"{name}: {value}\n" for name, value in values.items())})
    return asked(world, **in_file(**values))


def test_settings_that_fit_pass_and_a_profile_without_any_has_nothing_to_judge(world: World) -> None:
    found = with_file(world, **SANE, **SYNC)
    assert [f for f in found.values() if f.verdict is not PASS] == []
    assert len(found) == len(CHECKS) - 1 + len(SANE) + len(SYNC)
    assert found["agent.heartbeat.ratio"].value == 2.5
    assert "session_timeout 5m, keep_alive 30" in found["agent.session.ratio"].reason
    none = asked(world)
    assert {f.verdict for f in none.values()} == {PASS}
    assert all("nothing to judge" in f.reason for f in none.values())


@pytest.mark.parametrize(
    ("changes", "check", "verdict", "said"),
    [
        ({"heartbeat_interval": "5"}, "agent.heartbeat.interval", WARN, "a heartbeat every 5 s, at least 30 and at most 60 s"),
        ({"heartbeat_interval": "5m"}, "agent.heartbeat.interval", WARN, "every 300 s"),
        ({"heartbeat_interval": "soon"}, "agent.heartbeat.interval", UNKNOWN, "heartbeat_interval is 'soon', which is no time"),
        ({"heartbeat_timeout": "45"}, "agent.heartbeat.ratio", WARN, "1.5 times the interval (heartbeat_timeout 45, heartbeat_interval 30)"),
        ({"heartbeat_timeout": "10m"}, "agent.heartbeat.ratio", WARN, "20 times the interval"),
        ({"heartbeat_interval": "0"}, "agent.heartbeat.ratio", UNKNOWN, "heartbeat_interval is 0"),
        ({"session_timeout": "20"}, "agent.session.ratio", FAIL, "0.67 times the keep-alive"),
        ({"session_timeout": "33"}, "agent.session.ratio", WARN, "1.1 times the keep-alive"),
        ({"sync_retries": "1"}, "agent.sync.retries", WARN, "1 tries"),
        ({"sync_timeout": "30s"}, "agent.sync.timeout", WARN, "given up after 30 s, at least 1 and at most 5 s"),
        ({"sync_interval": "10"}, "agent.sync.share", FAIL, "150 % of the interval (3 tries of 5s every 10)"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_told_with_figures(
    world: World, changes: dict[str, str], check: str, verdict: Verdict, said: str
) -> None:
    finding = with_file(world, **{**SANE, **SYNC, **changes})[check]
    assert finding.verdict is verdict, finding
    assert said in finding.reason
    assert finding.remedy


EVERYWHERE = {
    "file": "@ROOT@/agent/etc/agent.yaml",
    "drop_ins": "@ROOT@/agent/d/*.yaml",
    "pattern": "^heartbeat_interval:",
    "env": "HEARTBEAT",
    "remote": "http://127.0.0.1:1/settings",
    "default": "30",
}
SOURCES = {
    "file": {"agent/etc/agent.yaml": "heartbeat_interval: 31 # s\n"},
    "drop-in": {"agent/d/10.yaml": "heartbeat_interval: 32\n", "agent/d/20.yaml": "heartbeat_interval: '33'\n"},
    "environment": {f"proc/{PID}/environ": "PATH=/bin\0HEARTBEAT=34\0"},
    "remote": {"said/settings": '{"heartbeat_interval": 35, "x": 1}'},
}


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ((), "agreed: 30: default wins; file: -, environment: -, remote: -, default: 30"),
        (("file",), "agreed: 31: file wins; file: 31,"),
        (("drop-in",), "agreed: 33: file wins; file: 33 (set by @ROOT@/agent/d/20.yaml),"),
        (("file", "drop-in"), "agreed: 33: file wins"),
        (("file", "environment"), "conflict: 34: environment wins; file: 31, environment: 34, remote: -"),
        (("file", "remote"), "conflict: 35: remote wins; file: 31, environment: -, remote: 35"),
        (("file", "environment", "remote"), "conflict: 34: environment wins"),
    ],
)
def test_of_all_sources_the_winner_is_shown_and_a_conflict_is_told(
    world: World, sources: tuple[str, ...], said: str
) -> None:
    world.programs["curl"] = 'cat "$SAID/settings"'
    world.write({"agent/etc/agent.yaml": "# heartbeat_interval: 99\n", "said/settings": "{}"})
    for source in sources:
        world.write(dict(SOURCES[source]))
    finding = asked(world, heartbeat_interval=EVERYWHERE)["agent.setting.sources:heartbeat_interval"]
    assert said.replace("@ROOT@", str(world.root)) in finding.reason
    assert finding.verdict is (WARN if "conflict" in said else PASS)


def test_the_order_and_the_source_that_should_win_are_the_profiles(world: World) -> None:
    world.write({**SOURCES["file"], **SOURCES["environment"]})
    ordered = {**EVERYWHERE, "remote": "", "order": ["file", "environment"]}
    key = "agent.setting.sources:heartbeat_interval"
    assert "conflict: 31: file wins" in asked(world, heartbeat_interval=ordered)[key].reason
    wanted = asked(world, heartbeat_interval={**EVERYWHERE, "remote": "", "expect": "file"})[key]
    assert (wanted.verdict, "wrong source" in wanted.reason) == (WARN, True)
    assert wanted.reason.endswith("but file should")
    assert "heartbeat_interval" in wanted.remedy


def test_a_remote_source_that_is_silent_and_a_setting_nobody_names_are_unknown(world: World) -> None:
    world.programs["curl"] = "exit 7"
    key = "agent.setting.sources:heartbeat_interval"
    silent = asked(world, heartbeat_interval=EVERYWHERE)[key]
    assert (silent.verdict, "does not answer" in silent.reason) == (UNKNOWN, True)
    world.write(SOURCES["environment"])
    assert asked(world, heartbeat_interval=EVERYWHERE)[key].verdict is PASS, "what is stronger is told without it"
    world.write({f"proc/{PID}/environ": "PATH=/bin\0"})
    nobody = asked(world, heartbeat_interval={**EVERYWHERE, "remote": "", "default": ""})[key]
    assert (nobody.verdict, "no source names it" in nobody.reason) == (UNKNOWN, True)


@pytest.mark.parametrize(
    "wrong", [{"pattern": "^x:"}, {"pattern": "^x:\n", "env": "X"}, {"pattern": "", "env": "X"}, {"pattern": "x", "env": "X", "expect": "heaven"}]
)  # fmt: skip
def test_a_setting_without_a_source_or_with_odd_words_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Setting.model_validate(wrong)
