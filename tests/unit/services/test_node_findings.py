"""One agent as its control centre sees it (issue 7: 1; D4 B10 C1 C3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import ServiceError
from upkeep.services.control_centre import NodeStatus
from upkeep.services.node_findings import node_findings

NOW = datetime(2026, 11, 21, tzinfo=UTC)
GOOD = {
    "id": "h1",
    "online": True,
    "version": "1",
    "policy_version": "7",
    "last_seen": NOW.isoformat(),
    "registered_at": NOW.isoformat(),
}


class Centre:
    """Answers as it is told."""

    def __init__(self, node: dict[str, Any] | None, *, silent: bool = False) -> None:
        self._node, self._silent = node, silent

    def asking_once(self, _within: timedelta) -> Centre:
        return self

    def node(self, _name: str) -> NodeStatus | None:
        if self._silent:
            raise ServiceError("no answer")
        return NodeStatus.model_validate(self._node) if self._node else None

    def policy_version(self) -> str:
        return "7"


def found(node: dict[str, Any] | None, *, silent: bool = False) -> dict[str, Finding]:
    return {f.check: f for f in node_findings(Centre(node, silent=silent), "h1", NOW)}  # type: ignore[arg-type]


def test_an_agent_that_is_online_with_fresh_heartbeat_policy_and_record_passes() -> None:
    assert {f.verdict for f in found(GOOD).values()} == {Verdict.PASS}


@pytest.mark.parametrize(
    ("changes", "check", "verdict", "said"),
    [
        ({"online": False}, "centre.registered", Verdict.FAIL, "offline, last seen"),
        (
            {"last_seen": (NOW - timedelta(seconds=181)).isoformat()},
            "centre.heartbeat",
            Verdict.FAIL,
            "181 s old, at most 180",
        ),
        ({"last_seen": "once"}, "centre.heartbeat", Verdict.UNKNOWN, "cannot be read: once"),
        ({"policy_version": "6"}, "centre.policy", Verdict.WARN, "policy 6 is in place, the current one is 7"),
        ({"version": None, "registered_at": None}, "centre.record", Verdict.WARN, "lacks version, registered_at"),
    ],
)
def test_what_is_wrong_with_an_agent_is_told_apart(
    changes: dict[str, Any], check: str, verdict: Verdict, said: str
) -> None:
    finding = found({**GOOD, **changes})[check]
    assert finding.verdict is verdict
    assert said in finding.reason
    assert finding.remedy


def test_an_agent_nobody_knows_fails_and_a_silent_control_centre_leaves_everything_unknown() -> None:
    assert found(None)["centre.registered"].verdict is Verdict.FAIL
    silent = found(GOOD, silent=True)
    assert silent.pop("centre.seen").verdict is Verdict.FAIL
    assert {f.verdict for f in silent.values()} == {Verdict.UNKNOWN}
