"""Packets counted into SYN without answer, sent again, resets; bounded; without tcpdump it is said (issue 7: 3; C2 C5)."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.unit.hosts.checks.made_up_host import GOOD, PROGRAMS, World
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.plan import Capture

SYN = "10:00:00.1 eth0  Out IP 10.0.0.9.{port} > 10.0.0.2.8443: Flags [S], seq {seq}, win 64240, options [mss 1460], length 0"
ANSWER = "10:00:00.2 eth0  In  IP 10.0.0.2.8443 > 10.0.0.9.{port}: Flags [S.], seq 9, ack 2, win 65160, length 0"
DATA = (
    "10:00:00.3 eth0  Out IP 10.0.0.9.{port} > 10.0.0.2.8443: Flags [P.], seq {seq}:{end}, ack 10, win 502, length 100"
)
RESET = "10:00:00.4 eth0  In  IP 10.0.0.2.8443 > 10.0.0.9.{port}: Flags [R.], seq 9, ack 2, win 0, length 0"


def session(port: int) -> list[str]:
    lines = [SYN.format(port=port, seq=1), ANSWER.format(port=port)]
    return lines + [DATA.format(port=port, seq=100 * n, end=100 * n + 100) for n in range(1, 21)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, dict(PROGRAMS))
    made.write(GOOD)
    made.variables = {"capture_seconds": "5", "capture_packets": "500"}
    return made


def captured(world: World, lines: list[str] | None) -> dict[str, Finding]:
    if lines is not None:
        world.write({"said/packets": "tcpdump: listening on any\n" + "".join(f"{line}\n" for line in lines)})
        world.programs["tcpdump"] = 'echo "$*" >"$SAID/asked"; cat "$SAID/packets"; exit 124'
    found = world.asked("capture.unanswered", "capture.retransmitted", "capture.resets")
    return {finding.check.removeprefix("capture."): finding for finding in found}


def test_a_good_session_passes_and_the_capture_is_bounded(world: World) -> None:
    found = captured(world, session(4000))
    assert {finding.verdict for finding in found.values()} == {Verdict.PASS}, found
    asked = (world.root / "said/asked").read_text()
    assert "-c 500" in asked
    assert "-s 96" in asked
    assert "tcp and host 10.0.0.2 and port 8443" in asked


def test_connections_that_get_no_answer_are_counted_once_however_often_they_ask(world: World) -> None:
    lines = [SYN.format(port=port, seq=7) for port in (4001, 4002, 4003) for _ in range(3)]
    finding = captured(world, [*session(4000), *lines])["unanswered"]
    assert (finding.verdict, finding.value) == (Verdict.FAIL, 3)
    assert "4 connections asked for" in finding.reason


def test_what_is_sent_again_is_a_share_of_what_is_sent(world: World) -> None:
    good = session(4000)
    finding = captured(world, [*good, *good[5:8]])["retransmitted"]
    assert finding.verdict is Verdict.FAIL
    assert "3 of 24 packets sent again" in finding.reason


def test_resets_are_counted(world: World) -> None:
    found = captured(world, [*session(4000), RESET.format(port=4000)])
    assert (found["resets"].verdict, found["resets"].value) == (Verdict.WARN, 1)


def test_a_reset_of_the_hosts_own_is_none_of_the_way(world: World) -> None:
    own = "10:00:00.4 eth0  Out IP 10.0.0.9.4000 > 10.0.0.2.8443: Flags [R], seq 9, win 0, length 0"
    found = captured(world, [*session(4000), own])
    assert (found["resets"].verdict, found["resets"].value) == (Verdict.PASS, 0)


def test_silence_is_nothing_to_judge(world: World) -> None:
    found = captured(world, [])
    assert {finding.verdict for finding in found.values()} == {Verdict.PASS}
    assert "no packet to or from port 8443 in 5 s" in found["resets"].reason


def test_a_host_without_tcpdump_says_what_is_missing(world: World) -> None:
    finding = captured(world, None)["resets"]
    assert finding.verdict is Verdict.UNKNOWN
    assert "install it (package tcpdump)" in finding.reason


def test_a_host_that_may_not_capture_is_unknown_with_the_reason(world: World) -> None:
    world.programs["tcpdump"] = 'echo "tcpdump: any: You don\'t have permission to capture on that device" >&2; exit 1'
    found = world.asked("capture.resets")
    assert found[0].verdict is Verdict.UNKNOWN
    assert "permission to capture" in found[0].reason


def test_a_capture_of_hours_is_refused() -> None:
    with pytest.raises(ValidationError, match="at most 60 s"):
        Capture.model_validate({"lasting": "2h"})
