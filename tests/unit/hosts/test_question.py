"""Questions: one round trip, each answer on its own; what cannot be read is unknown, never a pass (faults 16, 40)."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import HttpProbe, TcpProbe
from upkeep.hosts.checks.network import http
from upkeep.hosts.fake import FakeTransport
from upkeep.hosts.local import LocalTransport
from upkeep.hosts.question import _SOON, Answer, Question, ask, judged, read_answers
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


def test_late_questions_share_the_first_shell_after_the_others_and_findings_keep_their_order() -> None:
    asked = [question(f"echo {n} $$ $((order = order + 1))", plain=True, bare=True, late=n in {0, 2}) for n in range(4)]
    said = [finding.evidence.split() for finding in ask(LocalTransport(), asked)]
    assert [words[0] for words in said] == ["0", "1", "2", "3"]
    assert [words[2] for words in said] == ["3", "1", "4", "2"]
    assert len({words[1] for words in said}) == 1


def test_late_questions_have_time_of_their_own_and_one_that_hangs_takes_nothing_from_the_others() -> None:
    hangs = question("sleep 20", plain=True, late=True, timeout=timedelta(seconds=0.4))
    slept = question("sleep 0.3; echo there", plain=True, timeout=timedelta(seconds=0.4))
    found = ask(LocalTransport(), [hangs, slept, hangs])
    assert [finding.evidence for finding in found][1] == "there\n"
    assert [finding.verdict is Verdict.UNKNOWN for finding in found] == [True, False, True]


@pytest.mark.parametrize("changes", [{"soon": True}, {"soon": True, "slow": True}, {"plain": True, "bare": True}])
def test_questions_of_one_shell_are_answered_as_if_each_were_asked_by_itself(changes) -> None:
    scripts = [
        "echo one; (exit 3)",
        "printf 'no line end'",
        "echo two >&2",
        "cat",
        "printf 'a\\r\\nb'; false",
        "nowhere_to_be_found 2>/dev/null",
    ]
    alone = ask(LocalTransport(), [question(script) for script in scripts])
    together = ask(LocalTransport(), [question(script, **changes) for script in scripts])
    assert together == alone
    assert [f.reason for f in together] == ["3", "0", "0", "0", "1", "127"]


def test_a_question_that_is_not_answered_soon_is_given_all_its_time_and_keeps_nobody_waiting(monkeypatch) -> None:
    monkeypatch.setattr("upkeep.hosts.question._SOON", timedelta(seconds=0.5))
    asked = [
        question("echo a", soon=True),
        question("sleep 1; echo late", soon=True, slow=True),
        question("echo b", soon=True),
    ]
    assert [f.evidence for f in ask(LocalTransport(), asked)] == ["a\n", "late\n", "b\n"]


def test_a_question_that_says_too_much_in_a_shared_shell_is_cut_as_if_it_were_alone_and_silences_no_other() -> None:
    flood = "head -c 2000000 /dev/zero | tr '\\0' x"
    scripts = ["echo before", "head -c 70000 /dev/zero | tr '\\0' y", flood, "echo behind"]
    said = [f.evidence for f in ask(LocalTransport(), [question(script, soon=True) for script in scripts])]
    assert said == ["before\n", "y" * 65_536, "x" * 65_536, "behind\n"]


def test_a_bare_question_that_ends_its_shell_takes_nobody_along() -> None:
    asked = [question(script, plain=True, bare=True) for script in ("echo a", "exit 5", "echo b")]
    assert [(f.reason, f.evidence) for f in ask(LocalTransport(), asked)] == [("0", "a\n"), ("5", ""), ("0", "b\n")]


def test_what_is_asked_at_once_is_asked_piece_by_piece_where_that_fails() -> None:
    pieces = (question("echo one"), question("exit 4"))
    at_once = question("echo only one; (exit 1)", plain=True, bare=True, parts=pieces)
    found = ask(LocalTransport(), [at_once, question("echo next", plain=True)])
    assert [(f.reason, f.evidence) for f in found] == [("0", "one\n"), ("4", ""), ("0", "next\n")]


def test_without_an_answer_every_piece_is_unknown() -> None:
    pieces = tuple(Question(f"t.piece{n}", "echo", echo) for n in range(2))
    host = FakeTransport("h1")
    host.on("ask_together", Reply(0, b"login noise only", "", 0.1))
    found = ask(host, [question("echo", plain=True, parts=pieces)])
    assert [(f.check, f.verdict) for f in found] == [("t.piece0", Verdict.UNKNOWN), ("t.piece1", Verdict.UNKNOWN)]


@given(st.binary(max_size=300))
def test_no_bytes_in_a_shared_answer_make_an_error(noise: bytes) -> None:
    nonce = "0123456789abcdef"
    reply = Reply(0, f"\n{nonce}:begin\n".encode() + noise + f"\n{nonce}:end\n".encode(), "", 0.1)
    assert read_answers(reply, nonce) == {}


def test_a_probe_that_hangs_as_long_as_it_may_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(HttpProbe(id="x", url="http://x").timeout, TcpProbe(id="x", address="x", port=1).timeout) < _SOON
    host, rounds = LocalTransport(), []
    run = LocalTransport.run
    monkeypatch.setattr(LocalTransport, "run", lambda *words, **more: rounds.append(1) or run(*words, **more))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        hanging = http(HttpProbe(id="x", url=url, timeout=timedelta(seconds=0.6)))
        found = ask(host, [hanging, question("echo b", soon=True)])
    assert len(rounds) == 1
    assert (found[0].verdict, "timeout" in found[0].reason) == (Verdict.FAIL, True)
    assert found[1].evidence == "b\n"
