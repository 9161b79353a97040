"""Questions to a host: all of a phase travel as one script in one round trip, and each answer is read on its own.

Nothing is written on the host. What cannot be read is an `unknown` finding, never an error and never a pass.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from upkeep.domain.finding import Finding, Verdict
from upkeep.hosts.transport import Limits, Reply, Transport

ANSWER_BYTES = 65_536
_TIMED_OUT = {124, 137}
_MISSING = 127

# Answers travel as base64 in lines shorter than PIPE_BUF: questions asked at once cannot cut each other's lines.
_ASKING = r"""
ask() {
    { exit_code=$( {
          { timeout -k 2 "$2" sh -c "$3" </dev/null 2>&1 3>&-; echo $? >&3; } | { head -c @BYTES@; cat >/dev/null; } >&4
      } 3>&1 )
      printf '\n%s' "$exit_code" >&4; } 4>&1 | base64 -w 3000 | {
        part=0
        while IFS= read -r text || [ -n "$text" ]; do
            printf '%s:%s:%s:%s\n' @NONCE@ "$1" "$part" "$text"
            part=$((part + 1))
        done
        printf '%s:%s:end:%s\n' @NONCE@ "$1" "$part"
    }
}
"""

# Plain questions cost no program of their own but the ones they ask: all in one shell, under one time limit.
_ASKING_PLAIN = r"""
ask_plain() {
    { timeout -k 2 "$2" sh -c "$3" </dev/null 2>&1; } | head -c @BYTES@ | base64 -w 3000 | {
        part=0
        while IFS= read -r text || [ -n "$text" ]; do
            printf '%s:%s:%s:%s\n' @NONCE@ "$1" "$part" "$text"
            part=$((part + 1))
        done
        printf '%s:%s:end:%s\n' @NONCE@ "$1" "$part"
    }
}
"""
_PLAIN_BYTES = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What a question's script printed (both streams, bounded) and its exit code."""

    exit_code: int
    text: str

    @property
    def timed_out(self) -> bool:
        """Whether the question ran into its time limit."""
        return self.exit_code in _TIMED_OUT

    @property
    def missing(self) -> bool:
        """Whether the program asked for is not on the host."""
        return self.exit_code == _MISSING


Judge = Callable[[Answer], "Finding | Sequence[Finding]"]


@dataclass(frozen=True)
class Question:
    """One thing to find out: a script fragment and how to judge what it prints.

    `slow` ones are asked side by side. `plain` ones print little and hardly ever hang: they share one shell and one time limit,
    and are asked again one by one when that was not enough. What is both shares a second shell, beside the first.
    """

    check: str
    script: str
    judge: Judge
    subject: str = ""
    timeout: timedelta = timedelta(seconds=10)
    slow: bool = False
    plain: bool = False


def ask(transport: Transport, questions: Sequence[Question], *, become: bool = True, head: str = "") -> list[Finding]:
    """Ask everything in one round trip; findings come in the order of the questions. `head` runs first, for all of them.

    Raises:
        HostError: the host could not be asked at all.
    """
    nonce = secrets.token_hex(8)
    reply = transport.run(f"{head}\n{script_of(questions, nonce)}", become=become, limits=limits_of(questions))
    answers = read_answers(reply, nonce)
    left = [number for number, question in enumerate(questions) if question.plain and number not in answers]
    if left and re.search(rf"{nonce}:({len(questions)}|{len(questions) + 1}):end", reply.text):
        alone = [replace(questions[number], plain=False) for number in left]
        reply = transport.run(f"{head}\n{script_of(alone, nonce)}", become=become, limits=limits_of(alone))
        again = read_answers(reply, nonce)
        answers |= {left[number]: answer for number, answer in again.items()}
    return [
        finding for number, question in enumerate(questions) for finding in judged(question, answers.get(number), reply)
    ]


def script_of(questions: Sequence[Question], nonce: str) -> str:
    """The script that asks all questions."""
    lines = [_filled(_ASKING, nonce, ANSWER_BYTES), _filled(_ASKING_PLAIN, nonce, _PLAIN_BYTES)]
    beside = _together(questions, nonce, slow=True)
    lines += [f"{beside} &"] if beside else []
    for number, question in enumerate(questions):
        call = f"ask {number} {question.timeout.total_seconds():g} {shlex.quote(question.script)}"
        if not question.plain:
            lines.append(f"{call} &" if question.slow else call)
    return "\n".join([*lines, _together(questions, nonce, slow=False), "wait", ""])


def _together(questions: Sequence[Question], nonce: str, *, slow: bool) -> str:
    """The call that asks the plain questions of one kind in one shell; empty where there are none."""
    plain = [(number, q) for number, q in enumerate(questions) if q.plain and q.slow is slow]
    if not plain:
        return ""
    together = "".join(
        f"(eval {shlex.quote(question.script)})\nprintf '\\n%s-%s %s\\n' {nonce} {number} $?\n"
        for number, question in plain
    )
    seconds = max(question.timeout for _, question in plain).total_seconds()
    return f"ask_plain {len(questions) + slow} {seconds:g} {shlex.quote(together)}"


def _filled(function: str, nonce: str, limit_bytes: int) -> str:
    return function.replace("@NONCE@", nonce).replace("@BYTES@", str(limit_bytes))


def limits_of(questions: Iterable[Question]) -> Limits:
    """Time for all of them: the quick ones one after the other, the slow ones together."""
    quick = sum((q.timeout for q in questions if not q.slow), timedelta())
    slow = max((q.timeout for q in questions if q.slow), default=timedelta())
    total = quick + slow + timedelta(seconds=30)
    return Limits(total=total, idle=total, output_bytes=8 << 20)


def read_answers(reply: Reply, nonce: str) -> dict[int, Answer]:
    """Every answer that arrived whole, by the question's number."""
    parts: dict[int, dict[int, str]] = {}
    complete: dict[int, int] = {}
    for match in re.finditer(rf"{nonce}:(\d+):(\d+|end):([A-Za-z0-9+/=]*)", reply.text):
        number = int(match[1])
        if match[2] == "end":
            complete[number] = int(match[3] or 0)
        else:
            parts.setdefault(number, {})[int(match[2])] = match[3]
    answers: dict[int, Answer] = {}
    for number, count in complete.items():
        pieces = parts.get(number, {})
        raw = _decoded("".join(pieces[part] for part in sorted(pieces))) if len(pieces) == count else None
        if raw is not None:
            answers |= _shared(raw, nonce) or _single(number, raw)
    return answers


def _single(number: int, raw: str) -> dict[int, Answer]:
    """The answer to a question that was asked alone: its text and, in the last line, its exit code."""
    body, newline, code = raw.rpartition("\n")
    return {number: Answer(int(code), body)} if newline and code.strip().isdecimal() else {}


def _shared(raw: str, nonce: str) -> dict[int, Answer]:
    """The answers of the questions that shared a shell, as far as they got."""
    found: dict[int, Answer] = {}
    began = 0
    for match in re.finditer(rf"\n{nonce}-(\d+) (\d+)\n", raw):
        found[int(match[1])] = Answer(int(match[2]), raw[began : match.start()])
        began = match.end()
    return found


def judged(question: Question, answer: Answer | None, reply: Reply) -> Sequence[Finding]:
    """The findings of one question; `unknown` where there is no answer or it ran out of time."""
    if answer is None:
        return [unknown(question.check, question.subject, "no answer came back", evidence=reply.stderr)]
    if answer.timed_out:
        reason = f"no answer within {question.timeout.total_seconds():g} s"
        return [unknown(question.check, question.subject, reason, evidence=answer.text)]
    findings = question.judge(answer)
    return [findings] if isinstance(findings, Finding) else findings


def unknown(
    check: str,
    subject: str,
    reason: str,
    *,
    evidence: str = "",
    remedy: str = "ask again; look at the host if it stays so",
) -> Finding:
    """A finding that says nothing is known."""
    return Finding(
        check=check, subject=subject, verdict=Verdict.UNKNOWN, reason=reason, evidence=bounded(evidence), remedy=remedy
    )


def bounded(text: str, limit: int = 600) -> str:
    """Evidence of at most `limit` characters."""
    stripped = text.strip()
    return stripped if len(stripped) <= limit else f"{stripped[: limit - 1]}…"


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace").replace("\r\n", "\n")
    except binascii.Error:
        return None
