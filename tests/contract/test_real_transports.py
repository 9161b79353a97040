"""What transports that run real scripts promise beyond the common contract."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from upkeep.errors import CommandTimeout
from upkeep.hosts.local import LocalTransport
from upkeep.hosts.ssh import SshTransport
from upkeep.hosts.transport import Limits, Transport


@pytest.fixture(params=["local", pytest.param("ssh", marks=pytest.mark.sshd)])
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    made: Transport = LocalTransport("host")
    if request.param == "ssh":
        made = SshTransport(request.getfixturevalue("sshd").target(name="host"))
    yield made
    made.close()


def gone(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pid: str, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not gone(pid) and time.monotonic() < end:
        time.sleep(0.02)  # a process of another parent cannot be waited for
    return gone(pid)


def test_silence_longer_than_the_idle_limit_ends_a_script(transport: Transport) -> None:
    with pytest.raises(CommandTimeout, match=r"0.4 s \(idle limit\)"):
        transport.run("echo x; sleep 600", limits=Limits(idle=timedelta(seconds=0.4)))


def test_a_slow_script_that_says_something_now_and_then_is_left_alone(transport: Transport) -> None:
    script = "for i in 1 2 3 4; do sleep 0.2; echo $i; done"
    assert transport.run(script, limits=Limits(idle=timedelta(seconds=0.6))).text == "1\n2\n3\n4\n"


def test_a_limit_ends_the_script_and_its_children_but_not_what_detached_itself(
    transport: Transport, tmp_path: Path
) -> None:
    script = f"""cd {tmp_path}
        setsid sleep 60 </dev/null >/dev/null 2>&1 &
        echo $! >detached
        sleep 600 & echo $! >child
        echo $$ >shell
        sh -c 'echo $$ >grandchild; trap "" HUP; while :; do sleep 1; done'"""
    with pytest.raises(CommandTimeout):
        transport.run(script, limits=Limits(total=timedelta(seconds=1)))
    pids = {file.name: file.read_text().strip() for file in tmp_path.iterdir()}
    try:
        assert {name: wait_until_gone(pids[name]) for name in ("shell", "child", "grandchild")} == dict.fromkeys(
            ("shell", "child", "grandchild"), True
        )
        assert not gone(pids["detached"])
    finally:
        LocalTransport().run(f"kill {pids['detached']}")


def test_a_child_left_in_the_background_does_not_hold_up_the_reply(transport: Transport) -> None:
    started = time.monotonic()
    reply = transport.run("sleep 20 & echo $!")
    assert time.monotonic() - started < 5
    LocalTransport().run(f"kill {reply.text.strip()}")


def test_an_error_of_the_callers_own_data_comes_back_as_it_is(transport: Transport) -> None:
    def broken() -> Iterator[bytes]:
        yield b"first"
        message = "disk gone"
        raise OSError(message)

    with pytest.raises(OSError, match="disk gone"):
        transport.run("cat >/dev/null; echo whole", stdin=broken())
    assert transport.run("echo on").text == "on\n"


def test_an_error_of_the_callers_own_sink_comes_back_as_it_is(transport: Transport) -> None:
    def full(piece: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        transport.run("yes", sink=full)
    assert transport.run("echo on").text == "on\n"


def test_a_script_need_not_read_its_data(transport: Transport) -> None:
    assert transport.run("exit 5", stdin=(bytes(65_536) for _ in range(200))).exit_code == 5


def test_a_script_killed_by_a_signal_is_a_reply(transport: Transport) -> None:
    assert transport.run("kill -9 $$").exit_code in {137, 255}


def test_a_script_with_an_error_in_its_grammar_is_a_reply(transport: Transport) -> None:
    reply = transport.run("if then")
    assert reply.exit_code == 2
    assert "yntax error" in reply.stderr


def test_a_large_script_arrives_whole(transport: Transport) -> None:
    lines = "\n".join(f"n=$((n + {i})) # {'x' * 80}" for i in range(2000))
    assert transport.run(f"n=0\n{lines}\necho $n").text == f"{sum(range(2000))}\n"


def test_a_secret_in_a_script_or_its_data_shows_in_no_argument_list(transport: Transport) -> None:
    script = "s=s3cr3t-word; for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; done 2>/dev/null; true"
    assert "s3cr3t-word" not in transport.run(script, stdin=[b"s3cr3t-word"]).text
