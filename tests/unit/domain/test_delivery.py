"""How archives reach hosts: which way, how fast, and what is refused (issue 4: 6; B5)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from upkeep.domain.bandwidth import Bucket, Throttle
from upkeep.domain.delivery import Delivery, choose, listen_address, too_slow

MIB = 1024**2


def way(
    delivery: Delivery, *, mib: float = 40, hosts: int = 100, relay: str = "10.0.0.5", url: str = "/srv/agent.tar.gz"
) -> str:
    return choose(delivery, size_bytes=int(mib * MIB), hosts=hosts, relay=relay, site_url=url).way


def test_what_the_plan_says_is_done_whatever_the_size() -> None:
    for how in ("push", "relay", "site"):
        assert way(Delivery(how=how), mib=1, hosts=1, relay="") == how


def test_auto_pushes_what_is_little_and_lets_hosts_pull_what_is_much() -> None:
    assert way(Delivery(), hosts=1) == "push"
    assert way(Delivery(), mib=0.5, hosts=10_000) == "push"
    assert way(Delivery()) == "relay"


def test_auto_never_lets_hosts_pull_from_where_nobody_said_they_can_reach() -> None:
    chosen = choose(Delivery(), size_bytes=40 * MIB, hosts=100, relay="", site_url="https://vendor.example/a.tar.gz")
    assert chosen.way == "push"
    assert "delivery.relay" in chosen.why


def test_auto_takes_the_address_that_the_plan_gives_hosts() -> None:
    url = "https://mirror.example/a.tar.gz"
    assert way(Delivery(url=url), url=url) == "site"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", ("127.0.0.1", 0)),
        ("10.0.0.5", ("10.0.0.5", 0)),
        ("ctl.example:8021", ("ctl.example", 8021)),
        ("[fd00::5]:8021", ("fd00::5", 8021)),
    ],
)
def test_the_relays_address_may_name_a_port(text: str, meant: tuple[str, int]) -> None:
    assert listen_address(text) == meant


@pytest.mark.parametrize("text", ["0.0.0.0", "[::]:80", "a b", "10.0.0.5:70000", "http://10.0.0.5", ":8021"])  # noqa: S104 - refused
def test_an_address_hosts_cannot_reach_is_refused_with_the_form_that_is_allowed(text: str) -> None:
    with pytest.raises(ValidationError, match="ADDRESS:PORT"):
        Delivery(relay=text)


def test_plans_of_earlier_runs_can_still_be_read() -> None:
    old = Delivery.model_validate({"how": "pull", "url": None, "rate_limit": 1_250_000, "timeout": 900})
    assert (old.how, old.per_host_mbit) == ("site", 10)
    assert Delivery.model_validate({"how": "push", "rate_limit": None}).per_host is None


def test_each_hosts_share_is_the_smaller_of_its_own_limit_and_an_equal_part_of_all() -> None:
    delivery = Delivery(per_host_mbit=80, total_mbit=800)
    assert delivery.share(2) == 10_000_000
    assert delivery.share(100) == 1_000_000
    assert Delivery(total_mbit=8).per_host == 1_000_000
    assert Delivery().share(100) is None


def test_limits_that_leave_too_little_time_are_told_with_the_time_needed() -> None:
    delivery = Delivery(total_mbit=8, timeout=timedelta(minutes=1))
    assert too_slow(delivery, size_bytes=50 * 1_000_000, hosts_at_once=1) == ""
    assert "8 min 20 s" in too_slow(delivery, size_bytes=50 * 1_000_000, hosts_at_once=10)


@given(
    st.lists(st.tuples(st.integers(1, 65_536), st.floats(0, 2)), min_size=1, max_size=60),
    st.floats(1_000, 1e7),
)
def test_whatever_is_asked_when_never_more_than_the_rate_goes_out(asked: list[tuple[int, float]], rate: float) -> None:
    bucket, now, sent = Bucket(rate), 0.0, 0
    for size, pause in asked:
        now += pause
        leaves = now + bucket.reserve(size, now)
        assert sent <= rate * leaves + 1
        sent += size


@given(st.integers(2, 20))
def test_many_at_once_share_one_limit(hosts: int) -> None:
    shared = Bucket(1_000_000)
    each = [Throttle((Bucket(500_000), shared)) for _ in range(hosts)]
    last = max(throttle.reserve(50_000, 0.0) for _ in range(10) for throttle in each)
    assert last == pytest.approx(max((hosts * 10 - 1) * 0.05, 0.9))


def test_pieces_are_small_where_the_limit_is_low_so_that_it_is_kept_to_smoothly() -> None:
    assert Throttle((Bucket(40_000), Bucket(1e9))).piece_bytes == 2000
    assert Throttle((Bucket(1e9),)).piece_bytes == 65_536
