"""Many hosts, few files: the limit is raised where that is allowed, else told at the start; idle connections are rested (issue 4: 3, "Bad input")."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from tasks.connections import MOST_KEPT, Connections
from tasks.open_files import files_needed, make_room
from upkeep.errors import Refused
from upkeep.hosts.fake import FakeTransport
from upkeep.hosts.ssh_target import SshTarget


@pytest.fixture
def limits(monkeypatch) -> dict[str, tuple[int, int]]:
    """This process's limits, kept apart from the real ones."""
    kept = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _which: kept["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _which, pair: kept.update(now=pair))
    return kept


def test_a_soft_limit_that_is_too_low_is_raised_and_one_that_is_enough_left_alone(limits) -> None:
    make_room(1000)
    assert limits["now"] == (1024, 4096)
    make_room(3000)
    assert limits["now"] == (3000, 4096)


def test_what_the_system_does_not_allow_is_refused_with_the_number_needed_and_the_remedy(limits) -> None:
    with pytest.raises(Refused, match=r"may have 4096 files.*needs up to 5000.*ulimit -n 5000.*LimitNOFILE=5000"):
        make_room(5000)
    assert limits["now"] == (1024, 4096)


def test_without_a_limit_nothing_is_said(limits) -> None:
    limits["now"] = (1024, resource.RLIM_INFINITY)
    make_room(100_000)
    assert limits["now"] == (100_000, resource.RLIM_INFINITY)
    limits["now"] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    make_room(100_000)
    assert limits["now"] == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def test_the_need_grows_with_hosts_and_their_jumps_up_to_the_connections_that_are_kept() -> None:
    jump = SshTarget(name="j", address="j")
    plain = [SshTarget(name=f"h{n}", address=f"h{n}") for n in range(10_000)]
    far = [SshTarget(name="h", address="h", jump=(jump,))] * 100
    assert files_needed(plain[:10], at_once=50) < files_needed(plain[:200], at_once=50) < 1024
    assert files_needed(plain, at_once=50) == files_needed(plain[:1000], at_once=50)
    assert files_needed(far, at_once=50) == files_needed(plain[:100], at_once=50) + 100
    assert files_needed(plain, at_once=500) > files_needed(plain, at_once=50)


class Busy(FakeTransport):
    """A connection over which a script runs."""

    def rest(self) -> bool:
        return False


def test_only_so_many_connections_stay_open_and_none_that_is_in_use_is_cut() -> None:
    kept = Connections(most=3)
    hosts = {name: FakeTransport(name) for name in "abcdef"}
    busy = Busy("x")
    kept.used("x", busy)
    for name, transport in hosts.items():
        kept.used(name, transport)
    assert [name for name, transport in hosts.items() if not transport.closed] == ["d", "e", "f"]
    assert not busy.closed


def test_a_connection_that_was_needed_again_is_not_the_oldest_any_more() -> None:
    kept = Connections(most=2)
    a, b, c = (FakeTransport(name) for name in "abc")
    for transport in (a, b, a, c):
        kept.used(transport.host, transport)
    assert (a.closed, b.closed, c.closed) == (False, True, False)


def test_a_real_process_raises_its_soft_limit_and_is_told_about_its_hard_one() -> None:
    program = """
import resource
import subprocess
import sys
from tasks.open_files import make_room
from upkeep.errors import Refused
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
make_room(250)
print(resource.getrlimit(resource.RLIMIT_NOFILE))
try:
    make_room(301)
except Refused as error:
    print(error.exit_code, error.remedy)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    raised, refused = done.stdout.splitlines()
    assert raised == "(250, 300)"
    assert refused.startswith("4 ulimit -n 301")


def test_ten_thousand_hosts_keep_no_more_connections_than_allowed() -> None:
    kept, hosts = Connections(), [FakeTransport(f"h{number}") for number in range(10_000)]
    for number, host in enumerate(hosts):
        kept.used(f"h{number}", host)
    assert sum(not host.closed for host in hosts) == MOST_KEPT
