"""A site's own checks as they are asked: scripts, and one setting across all its sources (issue 7: 1; U8 B10)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.hosts.checks.made_up_host import GOOD, PID, World, shown
from upkeep.domain.check import Check
from upkeep.domain.finding import Finding, Verdict
from upkeep.hosts.checks.catalogued import head, questions
from upkeep.hosts.question import ask


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.write(GOOD)
    return made


def asked(world: World, **check: Any) -> list[Finding]:
    made = Check.model_validate({"id": "site.x", "asks": "?", "remedy": "do", **check})
    return ask(world.transport(), questions([made]), head=head(world.profile()))


def test_a_script_makes_one_finding_a_line(world: World) -> None:
    found = asked(
        world,
        script="printf '5\\tqueue a\\t\\n50\\tqueue b\\tslow\\n'",
        warn={"above": 10},
        says="{value} in {subject} {detail}",
    )
    assert [(f.key, f.verdict, f.reason) for f in found] == [
        ("site.x:queue a", Verdict.PASS, "5 in queue a"),
        ("site.x:queue b", Verdict.WARN, "50 in queue b slow, at most 10 is accepted"),
    ]


@pytest.mark.parametrize("script", ["exit 3", "true", "echo many", "sleep() { :; }; echo '?'"])
def test_a_script_that_fails_is_silent_or_gives_no_number_is_unknown(world: World, script: str) -> None:
    assert [f.verdict for f in asked(world, script=script, warn={"above": 10})] == [Verdict.UNKNOWN]


SETTING = {
    "file": "@ROOT@/agent/etc/agent.yaml",
    "pattern": "^heartbeat_interval:",
    "env": "HEARTBEAT",
    "default": "30",
}


def setting(world: World, **changes: str) -> Finding:
    wanted = {**SETTING, **changes}
    wanted["file"] = wanted["file"].replace("@ROOT@", str(world.root))
    (found,) = asked(world, setting=wanted, warn={"below": 30, "above": 60}, says="{value}: {detail}")
    return found


@pytest.mark.parametrize(
    ("sources", "value", "winner", "verdict"),
    [
        (("heartbeat_interval: 45 # s\n", "PATH=/bin\0"), 45, "file wins", Verdict.PASS),
        (
            ("heartbeat_interval: '45'\n", "HEARTBEAT=90\0"),
            90,
            "environment wins; file: 45, environment: 90",
            Verdict.WARN,
        ),
        (("# heartbeat_interval: 45\n", "PATH=/bin\0"), 30, "default wins", Verdict.PASS),
    ],
)
def test_of_a_settings_sources_the_winner_is_shown(
    world: World, sources: tuple[str, str], value: float, winner: str, verdict: Verdict
) -> None:
    world.write({"agent/etc/agent.yaml": sources[0], f"proc/{PID}/environ": sources[1]})
    found = setting(world)
    assert (found.value, found.verdict) == (value, verdict)
    assert winner in found.reason


def test_the_drop_in_that_sets_a_value_is_named(world: World) -> None:
    world.write({f"proc/{PID}/environ": "HEARTBEAT=40\0", "agent/drop.conf": "[Service]\nEnvironment=HEARTBEAT=40\n"})
    world.write(shown(DropInPaths=f"{world.root}/agent/drop.conf"))
    assert f"set by {world.root}/agent/drop.conf" in setting(world).reason


def test_a_source_that_should_not_win_and_a_setting_nobody_names_are_no_pass(world: World) -> None:
    world.write({"agent/etc/agent.yaml": "heartbeat_interval: 45\n", f"proc/{PID}/environ": "HEARTBEAT=40\0"})
    conflict = setting(world, expect="file")
    assert conflict.verdict is Verdict.UNKNOWN
    assert "environment wins; file: 45, environment: 40, default: 30, but file should" in conflict.reason
    world.write({"agent/etc/agent.yaml": "other: 1\n", f"proc/{PID}/environ": "PATH=/bin\0"})
    assert setting(world, default="").verdict is Verdict.UNKNOWN
