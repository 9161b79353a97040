import hashlib
import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from upkeep.errors import BadInput, GarbledOutput, HostError, LoginRefused, PrivilegeRefused
from upkeep.hosts.answer import Answer
from upkeep.hosts.bootstrap import BOOTSTRAP, NO_CALL_LINE, SCRIPT_CUT, Become, Call, command_line, encode_call, marker
from upkeep.hosts.refusal import explain_silence, password_refused

LOGIN_SHELLS = ("sh", "bash", "zsh", "fish", "tcsh")


def answer_to(argv: list[str], call: Call, data: bytes, env: dict[str, str] | None = None) -> tuple[Answer, int]:
    done = subprocess.run(argv, input=data, capture_output=True, check=False, env=env)
    answer = Answer(call.nonce, 1_000_000)
    answer.stdout(done.stdout)
    answer.stderr(done.stderr)
    return answer, done.returncode


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
def test_every_login_shell_hands_script_and_data_over_unchanged(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    data = os.urandom(100_000)
    call = encode_call("""echo "'$LC_ALL'" '"`!\\' é $#; sha256sum; echo "$@${u-unset}" >&2; exit 7""")
    answer, code = answer_to([shell, "-c", call.command], call, call.lead + data)
    reply = answer.reply(code, 0)
    assert reply.exit_code == 7
    assert reply.text == f"'C' \"`!\\ é 0\n{hashlib.sha256(data).hexdigest()}  -\n"
    assert reply.stderr == "unset\n"


def test_busybox_reads_no_further_than_the_script(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed here")
    for applet in ("dd", "sha256sum"):
        (tmp_path / applet).symlink_to(busybox)
    data = os.urandom(100_000)
    call = encode_call("sha256sum")
    answer, code = answer_to([busybox, "sh", "-c", BOOTSTRAP], call, call.lead + data, {"PATH": str(tmp_path)})
    assert answer.reply(code, 0).text.split()[0] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("become", ["none", "sudo"])
def test_the_command_is_the_same_for_every_script_and_holds_no_secret(become: Become) -> None:
    calls = [encode_call(script, become=become, password=SecretStr("hunter2")) for script in ("true", "echo secret")]
    assert calls[0].command == calls[1].command
    assert "hunter2" not in calls[0].command + repr(calls[0]) + str(calls[0].lead)
    assert not set("!\\\n") & set(calls[0].command)
    assert "'" not in BOOTSTRAP


def test_without_a_password_sudo_may_not_ask() -> None:
    assert " sudo -n -- /bin/sh " in command_line("sudo")
    assert (
        " sudo -S -p upkeep-password: -- /bin/sh "
        in encode_call("true", become="sudo", password=SecretStr("x")).command
    )


def test_a_login_as_root_is_sent_no_password() -> None:
    assert encode_call("true", password=SecretStr("x")).password_line.get_secret_value() == ""


def test_a_password_that_sudo_did_not_ask_for_never_reaches_the_script() -> None:
    call = encode_call("cat")
    answer, code = answer_to(["sh", "-c", call.command], call, b"hunter2\n" + call.lead + b"data")
    assert answer.reply(code, 0).stdout == b"data"


@pytest.mark.parametrize("kept", [0, 20, 300, -1])
def test_a_script_that_arrives_in_part_is_not_run(kept: int, tmp_path: Path) -> None:
    flag = tmp_path / "ran"
    call = encode_call(f"touch {flag}\n# {'x' * 5000}")
    answer, code = answer_to(["sh", "-c", call.command], call, call.lead[:kept] if kept else b"")
    assert (answer.started, flag.exists()) == (False, False)
    assert code in {NO_CALL_LINE, SCRIPT_CUT}
    assert isinstance(explain_silence("h", call, answer, code), GarbledOutput)


@given(script=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9000))
def test_call_and_script_always_fill_whole_blocks(script: str) -> None:
    call = encode_call(script)
    line, _, body = call.lead.partition(b"\n")
    assert len(body) == 4096 * int(line.split()[2])
    assert body.startswith(script.encode() + b"\n")
    assert body.endswith(b"#" + call.nonce)


def test_a_login_that_echoes_its_input_is_not_taken_for_a_script_that_began() -> None:
    call = encode_call("echo never")
    answer, _ = answer_to(["cat"], call, call.lead)
    assert not answer.started


@pytest.mark.parametrize("password", ["two\nlines", "upkeep-call x"])
def test_a_password_that_would_be_misread_is_refused_without_being_shown(password: str) -> None:
    with pytest.raises(BadInput) as caught:
        encode_call("true", become="sudo", password=SecretStr(password))
    assert password not in str(caught.value)


def test_a_script_with_a_nul_byte_is_refused() -> None:
    with pytest.raises(BadInput, match="NUL"):
        encode_call("a\0b")


@given(noise=st.binary(max_size=300), output=st.binary(max_size=300), cuts=st.lists(st.integers(0, 700), max_size=6))
def test_noise_is_cut_off_wherever_the_pieces_break(noise: bytes, output: bytes, cuts: list[int]) -> None:
    answer = Answer(b"0123456789abcdef", 10_000)
    stream = noise + marker(b"0123456789abcdef") + b"4711\n" + output
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        answer.stdout(stream[start:end])
    assert (answer.reply(0, 0).stdout, answer.pid) == (output, 4711)


def test_endless_noise_is_kept_in_bounded_memory_and_the_marker_still_found() -> None:
    answer = Answer(b"0123456789abcdef", 10)
    for _ in range(100):
        answer.stdout(b"x" * 65_536)
    assert len(answer.out.noise) <= 131_072
    answer.stdout(marker(b"0123456789abcdef")[:20])
    answer.stdout(marker(b"0123456789abcdef")[20:] + b"12\nhello")
    assert answer.reply(0, 0).stdout == b"hello"


def test_output_beyond_the_limit_is_dropped_and_said_so() -> None:
    answer = Answer(b"n", 5)
    answer.stdout(marker(b"n") + b"1\n123456789")
    reply = answer.reply(0, 0)
    assert (reply.stdout, reply.truncated) == (b"12345", True)


SUDO_SAYS = {
    "sudo: a password is required": "asks for a password",
    "sudo: a terminal is required to read the password; either use the -S option": "asks for a password",
    "sudo: no password was provided\nsudo: 1 incorrect password attempt": "did not accept",
    "Sorry, try again.\nsudo: 3 incorrect password attempts": "did not accept",
    "ops is not in the sudoers file.": "no rule",
    "Sorry, user ops is not allowed to execute '/bin/sh -c …' as root on web.": "no rule",
    "sudo: sorry, you must have a tty to run sudo": "demands a terminal",
    "env: 'sudo': No such file or directory": "not installed",
    "sudo: unable to initialize policy plugin": "sudo refused",
}


@pytest.mark.parametrize(("said", "meaning"), SUDO_SAYS.items())
def test_what_sudo_says_is_understood_whatever_its_lecture(said: str, meaning: str) -> None:
    call = encode_call("true", become="sudo")
    answer = Answer(call.nonce, 100)
    answer.stderr(
        b"We trust you have received the usual lecture from the local System\nAdministrator.\n\n" + said.encode()
    )
    error = explain_silence("web", call, answer, 1)
    assert isinstance(error, PrivilegeRefused)
    assert meaning in str(error)
    assert error.remedy


def test_a_second_question_for_the_password_means_that_it_was_wrong() -> None:
    answer = Answer(b"n", 100)
    answer.stderr(b"upkeep-password:")
    assert not password_refused(answer)
    answer.stderr(b"upkeep-password:")
    assert password_refused(answer)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"This account is currently not available.", LoginRefused),
        (b"Your password has expired.", LoginRefused),
        (b"Welcome to the menu\n1) reboot", GarbledOutput),
        (b"", GarbledOutput),
    ],
)
def test_a_login_that_runs_something_else_is_told_apart(said: bytes, kind: type[HostError]) -> None:
    call = encode_call("true")
    answer = Answer(call.nonce, 100)
    answer.stdout(said)
    error = explain_silence("web", call, answer, 1)
    assert type(error) is kind
    assert error.remedy
    assert re.search(r"^web: ", str(error))
