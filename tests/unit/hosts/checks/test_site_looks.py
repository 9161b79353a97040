"""A site's addresses, replicas and queues, each wrong in one way and right once (issue 7: 1; D11 U10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.hosts.checks.made_up_host import GOOD, PROGRAMS, World
from upkeep.domain.finding import Verdict

WARN, FAIL, PASS, UNKNOWN = Verdict.WARN, Verdict.FAIL, Verdict.PASS, Verdict.UNKNOWN


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, {**PROGRAMS, "sleep": ":"})
    made.write(GOOD)
    return made


def curl(*answers: str) -> str:
    """A curl that gives these answers, `CODE SECONDS`, for the four requests of every round."""
    return f"printf '%s\\n' {' '.join(repr(answer) for answer in answers)}"


@pytest.mark.parametrize(
    ("answers", "mean", "p95", "success"),
    [
        (("200 0.1",) * 4, PASS, PASS, PASS),
        (("200 0.4",) * 4, WARN, PASS, PASS),
        (("200 0.9",) * 4, FAIL, WARN, PASS),
        (("200 0.01", "200 0.01", "200 0.01", "200 1.0"), PASS, WARN, PASS),
        (("200 0.1", "200 0.1", "200 0.1", "503 0.1"), PASS, PASS, FAIL),
        (("000 5.0",) * 4, FAIL, FAIL, FAIL),
    ],
    ids=["good", "slow", "too slow", "slow now and then", "errors", "silent"],
)
def test_an_address_is_judged_by_mean_p95_and_success_over_a_window(
    world: World, answers: tuple[str, ...], mean: Verdict, p95: Verdict, success: Verdict
) -> None:
    world.variables = {"slo_url": "http://10.0.0.2/", "slo_window": "3"}
    world.programs["curl"] = curl(*answers)
    found = world.asked("slo.mean", "slo.p95", "slo.success")
    assert [finding.verdict for finding in found] == [mean, p95, success], found
    assert "12 requests to http://10.0.0.2/" in found[0].reason


@pytest.mark.parametrize(
    ("kind", "programs", "verdict", "said"),
    [
        ("postgresql", {"psql": "echo 0"}, PASS, "0 s behind"),
        ("postgresql", {"psql": "echo 75"}, FAIL, "75 s behind (postgresql), at most 60 s"),
        ("postgresql", {"psql": "echo primary"}, PASS, "this server is no replica"),
        ("postgresql", {"psql": "echo 'connection refused' >&2; exit 2"}, UNKNOWN, "connection refused"),
        ("mysql", {"mysql": "printf 'Source_Host: a\\nSeconds_Behind_Source: 12\\nLast_Errno: 0\\n'"}, WARN, "12 s behind"),
        ("mysql", {"mysql": "printf 'Seconds_Behind_Source: NULL\\n'"}, UNKNOWN, "replication does not run"),
        ("mysql", {"mysql": "echo 'ERROR 1045: Access denied'"}, UNKNOWN, "Access denied"),
        ("mysql", {"mysql": ":"}, PASS, "no replica"),
        ("redis", {"redis-cli": "printf 'role:slave\\r\\nmaster_link_status:up\\r\\nmaster_last_io_seconds_ago:3\\r\\n'"}, PASS, "3 s"),
        ("redis", {"redis-cli": "printf 'role:slave\\r\\nmaster_link_status:down\\r\\n'"}, UNKNOWN, "no link to the master"),
        ("redis", {"redis-cli": "printf 'role:master\\r\\n'"}, PASS, "no replica"),
        ("echo 4.5", {}, PASS, "4.5 s behind"),
        ("nonesuch --lag", {}, UNKNOWN, "cannot be told"),
    ],
)  # fmt: skip
def test_a_replica_that_lags_or_does_not_replicate_is_told(
    world: World, kind: str, programs: dict[str, str], verdict: Verdict, said: str
) -> None:
    world.variables = {"replication": kind}
    world.programs |= programs
    (finding,) = world.asked("replication.lag")
    assert finding.verdict is verdict, finding
    assert said in finding.reason


@pytest.mark.parametrize(
    ("queue", "programs", "answer", "time"),
    [
        (
            "redis",
            {"redis-cli": 'case $1 in rpush) printf %s "$3" >"$SAID/q" ;; lpop) cat "$SAID/q" ;; esac'},
            PASS,
            PASS,
        ),
        ("redis", {"redis-cli": "echo 'Could not connect' >&2; exit 1"}, FAIL, UNKNOWN),
        ("redis", {"redis-cli": ":"}, FAIL, UNKNOWN),
        ('echo "back: $TOKEN"', {}, PASS, PASS),
        ("echo another", {}, FAIL, UNKNOWN),
    ],
)
def test_a_message_comes_back_from_the_queue_or_is_told_to_be_lost(
    world: World, queue: str, programs: dict[str, str], answer: Verdict, time: Verdict
) -> None:
    world.variables = {"queue": queue}
    world.programs |= programs
    found = world.asked("queue.answer", "queue.round_trip")
    assert [finding.verdict for finding in found] == [answer, time], found


def test_a_slow_queue_is_told_with_its_time(world: World) -> None:
    world.variables = {"queue": "/bin/sleep 0.6; echo $TOKEN"}
    (finding,) = world.asked("queue.round_trip")
    assert finding.verdict is WARN
    assert finding.value is not None
    assert finding.value >= 600


def test_kinds_of_errors_are_told_apart_from_their_numbers_and_times(world: World) -> None:
    journal = "2026-11-21T10:00:01Z ERROR job 17 failed at 0x7f3a\n2026-11-21T10:05:09Z ERROR job 4 failed at 0x7f99\nWARN disk slow\n"
    world.write({"said/journal": journal})
    found = {finding.subject: finding.value for finding in world.asked("agent.log.kind")}
    assert sorted(found.values(), key=lambda value: value or 0) == [1, 2], found
    assert "WARN disk slow" in found
