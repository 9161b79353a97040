import re
from datetime import timedelta

import pytest

from upkeep.errors import CommandTimeout, GarbledOutput, PrivilegeRefused, Unreachable
from upkeep.hosts.fake import FakeTransport, ManualClock
from upkeep.hosts.transport import Limits, Reply


def test_answers_by_substring_and_by_pattern_the_latest_rule_first() -> None:
    fake = FakeTransport().on("uname", "Linux\n").on(re.compile(r"uname -\w"), "x86_64\n")
    assert fake.run("uname -m").text == "x86_64\n"
    assert fake.run("uname").text == "Linux\n"


def test_gives_several_outcomes_in_turn_and_the_last_one_for_good() -> None:
    fake = FakeTransport("a").on("probe", Unreachable("a", "gone"), Reply(3, b"", "no", 0.1), "fine")
    with pytest.raises(Unreachable):
        fake.run("probe")
    assert [fake.run("probe").exit_code for _ in range(3)] == [3, 0, 0]


def test_records_what_was_asked() -> None:
    fake = FakeTransport("a").on("cat", lambda call: Reply(0, call.stdin[::-1], "", 0))
    assert fake.run("cat", become=True, stdin=[b"ab", b"c"]).stdout == b"cba"
    assert (fake.calls[0].become, fake.calls[0].stdin, fake.scripts) == (True, b"abc", ["cat"])


def test_a_script_nobody_foresaw_is_an_error_that_shows_it() -> None:
    with pytest.raises(GarbledOutput, match="rm -rf"):
        FakeTransport().run("rm -rf /")


def test_fails_exactly_the_call_it_was_told_to() -> None:
    fake = FakeTransport("a").on("", "ok").fail_call(2).fail_call(3, PrivilegeRefused("a", "sudo said no"))
    assert fake.run("1").text == "ok"
    with pytest.raises(Unreachable):
        fake.run("2")
    with pytest.raises(PrivilegeRefused):
        fake.run("3")
    assert fake.run("4").text == "ok"


def test_a_host_can_go_away_and_come_back() -> None:
    fake = FakeTransport().on("", "ok").go_away()
    with pytest.raises(Unreachable):
        fake.run("x")
    assert fake.come_back().run("x").text == "ok"


def test_slowness_passes_on_the_injected_clock_and_runs_into_the_limit() -> None:
    clock = ManualClock()
    fake = FakeTransport(clock=clock).on("slow", "done", seconds=90).on("stuck", "never", seconds=1e9)
    assert fake.run("slow").seconds == 90
    with pytest.raises(CommandTimeout):
        fake.run("stuck", limits=Limits(total=timedelta(seconds=30)))
    assert clock() == 120


def test_closing_twice_is_harmless() -> None:
    fake = FakeTransport()
    fake.close()
    fake.close()
    assert fake.closed
