"""Packets between real hosts and their control centre, looked at with tcpdump: counted, bounded, never kept (issue 7: 3; C5)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.endurance.machines.site import Host, Planted
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import HostError

pytestmark = [pytest.mark.machines, pytest.mark.timeout(900), pytest.mark.xdist_group("machines")]

DROPPED = Planted("", bridge=("ip saddr HOST tcp dport 8443 drop",), says="timed out")
RESETS = Planted(
    "", centre={"ends_sessions": 0.4, "counts_heartbeats": False}, says="reset by peer|EOF occurred|Broken pipe"
)
LOSSY = Planted("", bridge=("ip saddr HOST tcp dport 8443 numgen random mod 100 < 35 drop",), online=True)


@pytest.fixture
def host(hosts: list[Host]) -> Iterator[Host]:
    host = hosts[0]
    yield host
    host.heal(Planted("", back="[ ! -e /root/tcpdump ] || mv /root/tcpdump /usr/bin/tcpdump"))


def captured(host: Host, seconds: int = 12, packets: int = 2000) -> dict[str, Finding]:
    asked = host.asked({"capture_seconds": str(seconds), "capture_packets": str(packets)})
    return {f.check.removeprefix("capture."): f for f in asked if f.check.startswith("capture.")}


def test_a_good_way_has_no_open_question_no_reset_and_no_repetition(host: Host) -> None:
    found = captured(host, 5)
    assert {f.verdict for f in found.values()} == {Verdict.PASS}, found
    assert found["retransmitted"].value == 0, found


def test_syns_without_an_answer_are_counted(host: Host) -> None:
    host.plant(DROPPED)
    found = captured(host)
    assert found["unanswered"].verdict is not Verdict.PASS, found
    assert found["unanswered"].value >= 1
    assert found["retransmitted"].verdict is Verdict.FAIL, found


def test_resets_are_counted(host: Host) -> None:
    host.plant(RESETS)
    found = captured(host)
    assert found["resets"].verdict is Verdict.FAIL, found
    assert found["unanswered"].value == 0


def test_what_has_to_be_sent_again_is_counted(host: Host) -> None:
    host.plant(LOSSY)
    found = captured(host, 15)
    assert found["retransmitted"].verdict is Verdict.FAIL, found
    assert "sent again" in found["retransmitted"].reason


def test_a_capture_is_bounded_in_packets_and_in_time_and_leaves_nothing(host: Host) -> None:
    before = host.sh("find / -xdev -newer /proc/self -name '*cap*' -type f | wc -l")
    began = time.monotonic()
    found = captured(host, 60, packets=10)
    assert "10 packets in" in found["resets"].reason, found
    assert time.monotonic() - began < 60, "it ended with the tenth packet"
    found = captured(host, 2)
    assert "in 2 s" in found["resets"].reason, found
    with pytest.raises(HostError):
        host.sh("pgrep tcpdump")
    assert host.sh("find / -xdev -newer /proc/self -name '*cap*' -type f | wc -l") == before


def test_a_host_without_tcpdump_says_what_to_install_and_is_unknown(host: Host) -> None:
    host.sh("mv /usr/bin/tcpdump /root/tcpdump")
    found = captured(host, 2)
    assert {f.verdict for f in found.values()} == {Verdict.UNKNOWN}
    assert all("install it (package tcpdump)" in f.reason for f in found.values()), found
