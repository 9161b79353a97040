"""Scripts over SSH share one shell on the host and nothing else (issue 4: cost per host)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from upkeep.hosts.host_script import library, script
from upkeep.hosts.kept_shell import Ending
from upkeep.hosts.transport import Transport

pytestmark = pytest.mark.sshd


def sessions(sshd) -> int:
    return sshd.log.read_text().count("Starting session")


def variables(transport: Transport) -> set[str]:
    return {line.split("=")[0] for line in transport.run("set").text.splitlines() if "=" in line} - {"_"}


def test_scripts_leave_nothing_to_each_other(sshd, connect) -> None:
    transport = connect(sshd.target())
    first = transport.run(
        "cd /; x=1; f() { :; }; exec 9>/dev/null; umask 0; trap 'echo no' EXIT; ulimit -f 1; trap - EXIT; exit 7"
    )
    second = transport.run(
        'echo "$PWD$x$#$-"; command -v f; umask; ulimit -f; [ -e /proc/self/fd/9 ] || echo closed; cat'
    )
    assert first.exit_code == 7
    assert second.text.splitlines()[1:] == ["0022", "unlimited", "closed"]
    assert second.text.startswith("/")
    assert not second.text.startswith("/1")


def test_what_scripts_have_in_common_is_there_for_those_that_begin_with_it_and_for_no_other(sshd, connect) -> None:
    transport = connect(sshd.target())
    before = variables(transport)
    settings = {"U": "/nonexistent", "RELEASES": "/nonexistent", "AGENT": "a", "SHA256": "0", "SIZE": 5}
    for _ in range(2):
        assert "size=0\nresult=ok\nend=ok\n" in transport.run(script(settings, "partial_size")).text
    assert variables(transport) == before
    named = " ".join(re.findall(r"^(\w+)\(\)", library(), re.MULTILINE))
    functions = f'for name in {named}; do case $(command -V "$name" 2>&1) in *function*) echo "$name" ;; esac; done'
    assert "finish" in named
    assert transport.run(functions).text == ""


def test_a_script_that_takes_its_shell_along_is_a_reply_and_the_next_one_gets_another(sshd, connect) -> None:
    transport = connect(sshd.target())
    assert transport.run("echo a; kill -KILL $$; sleep 9").exit_code in {255, 137}
    assert transport.run("echo b").text == "b\n"


def test_a_host_that_allows_one_session_at_a_time_is_served_as_well(start_sshd, connect, tmp_path: Path) -> None:
    transport = connect(start_sshd("MaxSessions 1").target())
    taken = bytearray()
    for _ in range(2):
        assert transport.run("echo in the shell").text == "in the shell\n"
        assert transport.run("cat", stdin=[b"data"]).text == "data"
        transport.run("echo sink", sink=taken.extend)
    assert bytes(taken) == b"sink\n" * 2


def test_output_that_looks_like_an_end_is_not_one(sshd, connect) -> None:
    said = connect(sshd.target()).run("printf 'upkeep-ended:0123:0\\nupkeep-ended'").text
    assert said == "upkeep-ended:0123:0\nupkeep-ended"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_end_is_found_however_the_stream_is_cut(size: int) -> None:
    ending, stream, got = Ending(b"ab"), b"x upkeep-ended upkeep-ended:ac:1\nupkeep-ended:ab:17\nlater", b""
    for start in range(0, len(stream), size):
        got += ending.feed(stream[start : start + size])
    assert (got, ending.code) == (b"x upkeep-ended upkeep-ended:ac:1\n", 17)
