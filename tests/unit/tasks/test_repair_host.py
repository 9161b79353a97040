"""When a repair counts as having helped (issue 7: 3; C6)."""

from __future__ import annotations

import pytest

from tasks.repair_host import _settled, _what_is_left
from upkeep.documents.causes import load_causes
from upkeep.domain.diagnosis import Diagnosis, diagnose
from upkeep.domain.finding import Finding, Verdict

INCOMPLETE = Finding(
    check="net.tls.control-centre",
    verdict=Verdict.FAIL,
    reason="c:8443: the certificate of intermediate is missing in the chain",
    remedy="send it",
)


def seen(*, online: bool, complete: bool = False) -> Diagnosis:
    verdict = Verdict.PASS if online else Verdict.FAIL
    registered = Finding(check="centre.registered", verdict=verdict, reason="h1", remedy="" if online else "look")
    return diagnose(load_causes(), [registered] if complete else [registered, INCOMPLETE])


@pytest.mark.parametrize(
    ("found", "kind", "heard", "helped"),
    [
        (seen(online=True, complete=True), "restart", True, True),
        (seen(online=True, complete=True), "restart", False, False),
        (seen(online=True), "restart", True, False),
        (seen(online=True), "chain", True, True),
        (seen(online=False), "chain", True, False),
        (Diagnosis((), ()), "chain", False, False),
    ],
)
def test_a_chain_completed_on_the_host_has_helped_once_the_agent_is_online_though_the_server_goes_on(
    found: Diagnosis, kind: str, heard: bool, helped: bool
) -> None:
    assert _settled(found, kind, heard=heard) is helped


def test_what_the_other_end_still_does_wrong_is_said() -> None:
    assert "missing in the chain" in _what_is_left(seen(online=True))
    assert _what_is_left(seen(online=True, complete=True)).startswith("nothing is wrong any more")
