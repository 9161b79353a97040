"""The loop that takes one script after the other, in every shell that a host may have (issue 4: cost per host)."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from upkeep.hosts.bootstrap import SCRIPT_CUT
from upkeep.hosts.kept_shell import GO, LOOP, Ending, Frame, Kept, Kind

SHELLS = [["dash"], ["bash"], ["busybox", "sh"]]


def shell(words: list[str]) -> list[str]:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    return [*words, "-c", LOOP]


def talk(words: list[str], frames: list[Frame]) -> subprocess.CompletedProcess[bytes]:
    sent = b"".join(frame.lead + (b"" if b" keep\n" in frame.lead else GO) for frame in frames)
    return subprocess.run(shell(words), input=sent, capture_output=True, timeout=20, check=False)


def answer(stream: bytes, frame: Frame) -> tuple[bytes, int | None]:
    begun = stream.index(b"upkeep-begins:" + frame.nonce)
    ending = Ending(frame.nonce)
    return ending.feed(stream[stream.index(b"\n", begun) + 1 :]), ending.code


@pytest.mark.parametrize("words", SHELLS)
def test_every_script_has_its_own_process_output_and_exit_code(words: list[str]) -> None:
    scripts: list[tuple[str, Kind]] = [
        ("x=kept; cd /; echo one; echo two >&2; exit 3", "plain"),
        ("echo \"[$x$#]\"; cat; printf 'no line end'", "plain"),
        ("echo 'a \"quoted\" $word \\ `here`'; unclosed=(", "plain"),
        ("kill -TERM $(exec sh -c 'echo $PPID')", "plain"),
        ("echo still here", "plain"),
    ]
    frames = [Frame.of(script, kind) for script, kind in scripts]
    done = talk(words, frames)
    told = [answer(done.stdout, frame) for frame in frames]
    assert told[0] == (b"one\n", 3)
    assert answer(done.stderr, frames[0]) == (b"two\n", 3)
    assert told[1] == (b"[0]\nno line end", 0)
    assert told[2][1] != 0
    assert told[-1] == (b"still here\n", 0)


@pytest.mark.parametrize("words", SHELLS)
def test_what_was_kept_is_there_for_shared_scripts_only(words: list[str]) -> None:
    frames = [
        Frame.keeping(Kept("greet() { echo \"it's $1\"; }\nL='a\nb'\n", "unset -f greet; unset L")),
        Frame.of('greet me; echo "$L"', "shared"),
        Frame.of('command -v greet; echo "[$L$forget]"', "plain"),
    ]
    done = talk(words, frames)
    assert [answer(done.stdout, frame) for frame in frames[1:]] == [(b"it's me\na\nb\n", 0), (b"[]\n", 0)]


@pytest.mark.parametrize("words", SHELLS)
def test_a_script_that_came_in_part_or_was_not_told_to_go_is_never_run(words: list[str]) -> None:
    for sent in (Frame.of("echo run", "plain").lead[:-5], Frame.of("echo run", "plain").lead):
        done = subprocess.run(shell(words), input=sent, capture_output=True, timeout=20, check=False)
        assert done.returncode == SCRIPT_CUT
        assert b"run\n" not in done.stdout
