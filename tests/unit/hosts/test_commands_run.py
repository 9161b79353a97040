"""What ran on a host is part of the step's result: command, exit code, bounded output without secrets (issue 6: 4; R5; G3, G5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from upkeep.errors import Unreachable
from upkeep.hosts.commands_run import Listened, named
from upkeep.hosts.fake import FakeTransport
from upkeep.hosts.question import Question, script_of
from upkeep.hosts.transport import Reply

DF = Question("disk", "df", lambda _: [])
SECRET = "hunter2" * 20


def clean(text: str) -> str:
    return text.replace(SECRET, "***")


def test_every_script_is_told_once_with_its_exit_code_time_and_first_output() -> None:
    fake = FakeTransport().on("phase_switch", Reply(3, b"result=failed\n", "no such file", 0.25))
    host = Listened(fake)
    assert host.run("a library\nphase_take_over\nphase_switch\n", become=True).exit_code == 3
    (ran,) = host.ran()
    assert ran.told(clean) == {
        "command": "change: switch",
        "as_root": True,
        "seconds": 0.25,
        "bytes_out": 14,
        "exit_code": 3,
        "stdout": "result=failed\n",
        "stderr": "no such file",
    }
    assert host.ran() == []


def test_a_script_without_an_end_is_told_with_what_ended_it() -> None:
    host = Listened(FakeTransport().go_away())
    with pytest.raises(Unreachable):
        host.run("uptime\n")
    (told,) = [one.told(clean) for one in host.ran()]
    assert told["command"] == "uptime"
    assert told["ended"].startswith("Unreachable: ")
    assert "exit_code" not in told


def test_no_part_of_a_secret_stays_where_output_is_cut() -> None:
    printed = "x" * 350 + SECRET + "y" * 5000
    host = Listened(FakeTransport().on("phase_inspect", printed))
    reply = host.run("phase_inspect")
    assert reply.text == printed, "who asked gets all of it"
    (told,) = [one.told(clean) for one in host.ran()]
    assert "hunter2" not in told["stdout"]
    assert len(told["stdout"]) == 400
    assert told["bytes_out"] == len(printed)


def test_what_streams_to_a_sink_is_not_kept() -> None:
    host, got = Listened(FakeTransport().on("tar", "an archive")), bytearray()
    host.run("tar -c /etc\nphase_read_backup", sink=got.extend)
    assert bytes(got) == b"an archive"
    (told,) = [one.told(clean) for one in host.ran()]
    assert "stdout" not in told


@pytest.mark.parametrize("script", ["head\nask 0 10 'df'\nwait\n", 'set -- /etc/agent.conf\ncat -- "$1"'])
def test_answers_in_base64_and_files_of_the_host_are_not_kept_because_no_secret_would_be_seen_in_them(
    script: str,
) -> None:
    host = Listened(FakeTransport().on(script, "ebde450f:0:aHVudGVyMg=="))
    host.run(script)
    (told,) = [one.told(clean) for one in host.ran()]
    assert (told["exit_code"], told["bytes_out"], "stdout" in told) == (0, 23, False)


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("lib\nphase_back_up\n", "change: back up"),
        (script_of([DF], "n"), "questions of the checks"),
        (script_of([DF, replace(DF, slow=True)], "n"), "questions of the checks"),
        (script_of([replace(DF, plain=True)], "n"), "questions of the checks"),
        ("set -- 'agent.service' 60\nwhile :; do :; done\n", "set -- 'agent.service' 60"),
        ("", ""),
        ("x" * 1000, "x" * 120),
    ],
)
def test_a_script_is_named_as_a_reader_knows_it(script: str, name: str) -> None:
    assert named(script) == name
