"""Questions: one round trip, each answer on its own; what cannot be read is unknown, never a pass (faults 16, 40)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.domain.finding import Finding, Verdict
from upkeep.hosts.fake import FakeTransport
from upkeep.hosts.local import LocalTransport
from upkeep.hosts.question import Answer, Question, ask, judged, read_answers
from upkeep.hosts.transport import Reply


def echo(answer: Answer) -> Finding:
    return Finding(check="t.echo", verdict=Verdict.PASS, reason=f"{answer.exit_code}", evidence=answer.text)


def question(script: str, **changes: object) -> Question:
    return Question("t.echo", script, echo, **changes)  # type: ignore[arg-type]


def test_all_questions_travel_in_one_round_trip_and_answers_keep_their_order() -> None:
    host = LocalTransport()
    findings = ask(
        host, [question("echo one"), question("echo two >&2; exit 3"), question("printf 'a\\nb'; cat", slow=True)]
    )
    assert [(f.reason, f.evidence) for f in findings] == [("0", "one\n"), ("3", "two\n"), ("0", "a\nb")]


def test_slow_questions_are_asked_side_by_side() -> None:
    host = LocalTransport()
    findings = ask(
        host,
        [
            question("read -t 1 x < /dev/zero; sleep 0.6; echo $(($(date +%s%N) / 1000000))", slow=True)
            for _ in range(5)
        ],
    )
    ends = [int(f.evidence.split()[-1]) for f in findings]
    assert max(ends) - min(ends) < 1500, "one after the other they would end three seconds apart"


def test_a_question_that_hangs_is_unknown_and_holds_up_no_other() -> None:
    findings = ask(LocalTransport(), [question("sleep 60", timeout=timedelta(seconds=0.5)), question("echo fine")])
    assert [f.verdict for f in findings] == [Verdict.UNKNOWN, Verdict.PASS]
    assert "0.5 s" in findings[0].reason


def test_endless_output_is_cut_off_and_the_exit_code_kept() -> None:
    findings = ask(
        LocalTransport(), [question("head -c 5000000 /dev/zero | tr '\\0' x; exit 4"), question("echo next")]
    )
    assert findings[0].reason == "4"
    assert len(findings[0].evidence) == 65_536
    assert findings[1].evidence == "next\n"


def test_an_answer_that_does_not_arrive_whole_is_unknown() -> None:
    host = FakeTransport("h1")
    host.on("ask()", Reply(0, b"login noise only", "", 0.1))
    findings = ask(host, [question("echo one")])
    assert [f.verdict for f in findings] == [Verdict.UNKNOWN]


@given(st.binary(max_size=300))
def test_no_bytes_from_a_host_make_an_error_or_a_pass(noise: bytes) -> None:
    nonce = "0123456789abcdef"
    reply = Reply(0, noise + f"\n{nonce}:0:0:!!!!\n{nonce}:0:end:1\n".encode() + noise, "", 0.1)
    answers = read_answers(reply, nonce)
    findings = judged(question("echo"), answers.get(0), reply)
    assert all(f.verdict is Verdict.UNKNOWN for f in findings)


def test_carriage_returns_and_another_language_do_not_disturb_reading() -> None:
    findings = ask(
        LocalTransport(env={"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8"}),
        [question("ls /nowhere"), question("printf 'a\\r\\nb\\r\\n'")],
    )
    assert "No such file" in findings[0].evidence
    assert findings[1].evidence == "a\nb\n"


def test_plain_questions_share_a_shell_and_keep_their_answers_apart() -> None:
    scripts = ["set -- a; echo $1", "echo ${1:-nothing}; exit 3", "printf 'no line end'", "cat"]
    findings = ask(LocalTransport(), [question(script, plain=True) for script in scripts])
    assert [(f.reason, f.evidence) for f in findings] == [
        ("0", "a\n"),
        ("3", "nothing\n"),
        ("0", "no line end"),
        ("0", ""),
    ]


@pytest.mark.parametrize("slow", [False, True])
def test_a_plain_question_that_hangs_is_unknown_and_those_behind_it_are_answered(slow: bool) -> None:
    soon = timedelta(seconds=0.5)
    scripts = ["echo a", "sleep 60", "echo b"]
    findings = ask(LocalTransport(), [question(one, plain=True, slow=slow, timeout=soon) for one in scripts])
    assert [f.verdict for f in findings] == [Verdict.PASS, Verdict.UNKNOWN, Verdict.PASS]
    assert (findings[0].evidence, findings[2].evidence) == ("a\n", "b\n")


def test_plain_questions_that_are_slow_share_a_second_shell_beside_the_first() -> None:
    asked = [question(f"echo {n} $$", plain=True, slow=n in {1, 3}) for n in range(4)]
    said = [finding.evidence.split() for finding in ask(LocalTransport(), asked)]
    assert [number for number, _ in said] == ["0", "1", "2", "3"]
    assert said[0][1] == said[2][1] != said[1][1] == said[3][1]
