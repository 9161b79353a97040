"""What every transport promises, tried on the fake, on this machine and over a real sshd."""

from __future__ import annotations

import hashlib
import os
import resource
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from upkeep.errors import CommandTimeout
from upkeep.hosts.fake import FakeCall, FakeTransport
from upkeep.hosts.local import LocalTransport
from upkeep.hosts.ssh import SshTransport
from upkeep.hosts.transport import Limits, Reply, Transport

TEN_MB = 10_000_000
SPECIAL = "cat <<'END'\n'\"`$(date) $HOME \\n \\\\ é 漢 !! %s #\nEND\n"


def soon(**limits: float) -> Limits:
    return Limits(**{name: timedelta(seconds=seconds) for name, seconds in limits.items()})  # type: ignore[arg-type]


def behaving_fake() -> FakeTransport:
    """A fake told to answer this suite's scripts as a host does."""
    fake = FakeTransport("host")

    def told(script: str, answer: Callable[[FakeCall], Reply] | Reply | str, seconds: float = 0.0) -> None:
        fake.on(script, answer, seconds=seconds)

    told("true", "")
    told("echo out", Reply(3, b"out\n", "err\n", 0.0))
    told("exit 1", Reply(1, b"", "", 0.0))
    told("printf 'a", Reply(0, b"a\r\nb\r\n", "", 0.0))
    told(SPECIAL, "'\"`$(date) $HOME \\n \\\\ é 漢 !! %s #\n")
    told("sha256sum", lambda call: Reply(0, hashlib.sha256(call.stdin).hexdigest().encode() + b"  -\n", "", 0.0))
    told("wc -c", lambda call: Reply(0, f"{len(call.stdin)}\n".encode(), "", 0.0))
    told("head -c", Reply(0, bytes(TEN_MB), "", 0.0))
    told("locale", "C C 0022\n")
    told("sleep", "", seconds=3600)
    told("yes", "", seconds=3600)
    return fake


@pytest.fixture(params=["fake", "local", pytest.param("ssh", marks=pytest.mark.sshd)])
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    made: Transport
    if request.param == "fake":
        made = behaving_fake()
    elif request.param == "local":
        made = LocalTransport("host")
    else:
        made = SshTransport(request.getfixturevalue("sshd").target(name="host"))
    yield made
    made.close()


def test_output_errors_and_exit_code_come_back_apart(transport: Transport) -> None:
    reply = transport.run("echo out; echo err >&2; exit 3")
    assert (reply.stdout, reply.stderr, reply.exit_code, reply.truncated) == (b"out\n", "err\n", 3, False)


def test_a_failing_script_is_a_reply_and_no_error(transport: Transport) -> None:
    assert transport.run("exit 1").exit_code == 1


def test_text_folds_line_ends_and_stdout_keeps_them(transport: Transport) -> None:
    reply = transport.run(r"printf 'a\r\nb\r\n'")
    assert (reply.text, reply.stdout) == ("a\nb\n", b"a\r\nb\r\n")


def test_a_script_arrives_letter_by_letter(transport: Transport) -> None:
    assert transport.run(SPECIAL).text == "'\"`$(date) $HOME \\n \\\\ é 漢 !! %s #\n"


def test_ten_megabytes_of_anything_arrive_whole(transport: Transport) -> None:
    data = os.urandom(TEN_MB)
    reply = transport.run("sha256sum", stdin=[data[:1], data[1:5_000_000], b"", data[5_000_000:]])
    assert reply.text.split()[0] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("data", [b"", b"abc", b"abc\n\0\x04\x1a"])
def test_a_script_reads_exactly_its_data_and_then_end_of_file(transport: Transport, data: bytes) -> None:
    assert transport.run("wc -c", stdin=[data] if data else ()).text.split() == [str(len(data))]


def test_a_sink_takes_all_of_a_large_output(transport: Transport) -> None:
    sizes: list[int] = []
    reply = transport.run(f"head -c {TEN_MB} /dev/zero", sink=lambda piece: sizes.append(len(piece)))
    assert (sum(sizes), reply.stdout, reply.truncated) == (TEN_MB, b"", False)


def test_output_beyond_the_limit_is_dropped_and_said_so(transport: Transport) -> None:
    reply = transport.run(f"head -c {TEN_MB} /dev/zero", limits=Limits(output_bytes=1000))
    assert (reply.exit_code, len(reply.stdout), reply.truncated) == (0, 1000, True)


@pytest.mark.parametrize("script", ["sleep 600", "yes", "yes >&2", "sleep 600; exec >&- 2>&-; sleep 600"])
def test_a_script_that_does_not_end_is_hung_up_on_in_time(transport: Transport, script: str) -> None:
    started = time.monotonic()
    with pytest.raises(CommandTimeout, match=r"^host: .*0.5 s \(total limit\)"):
        transport.run(script, limits=soon(total=0.5))
    assert time.monotonic() - started < 5


def test_scripts_run_under_the_c_locale_with_a_plain_umask(transport: Transport) -> None:
    assert transport.run('echo "$LC_ALL $LANG $(umask)" # locale').text == "C C 0022\n"


def test_calls_follow_one_another_also_after_a_limit_and_after_closing(transport: Transport) -> None:
    with pytest.raises(CommandTimeout):
        transport.run("sleep 600", limits=soon(total=0.2))
    assert transport.run("exit 1").exit_code == 1
    transport.close()
    transport.close()
    assert transport.run("true").exit_code == 0


def test_a_controller_with_thousands_of_open_files_still_reaches_its_hosts(transport: Transport) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert transport.run("echo out; echo err >&2; exit 3", limits=soon(idle=10)).exit_code == 3
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
