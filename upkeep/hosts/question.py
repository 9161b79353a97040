"""Questions to a host: all of a phase travel as one script in one round trip, and each answer is read on its own.

Nothing is written on the host. What cannot be read is an `unknown` finding, never an error and never a pass.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby

from upkeep.domain.finding import Finding, Verdict
from upkeep.hosts.fetches import CURL_TIMED_OUT, Fetch, at_once
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

# Questions that share a shell, beside others that are asked at the same time.
_ASKING_BESIDE = r"""
ask_beside() {
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

# While nothing else is being asked, what the shared shell says needs no wrapping to stay whole.
_ASKING_TOGETHER = r"""
ask_together() {
    printf '\n%s:begin\n' @NONCE@
    timeout -k 2 "$1" sh -c "$2" </dev/null 2>&1 | head -c @BYTES@
    printf '\n%s:end\n' @NONCE@
}
"""
_TOGETHER_BYTES = 1 << 20
_SOON = timedelta(seconds=6)
"""So long those that nearly always answer at once may take together, before each is asked by itself with all its time. Longer
than the built-in probes wait: one of them that hangs has given its answer by then, and costs its host no second asking."""


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
    `soon` ones nearly always answer at once, though they may hang: they share the plain ones' shell, after them, for some seconds in
    all; what has no answer by then is asked again by itself. `late` ones that are plain wait in the plain ones' shell until those
    have their answers, with time of their own. `bare` scripts need no process of their own in a shared shell: they
    never exit, and disturb nobody. `parts` are the same thing asked piece by piece: when all of it at once gave no answer.
    `fetch` says how curl asks the same: late ones that follow each other share one curl.
    """

    check: str
    script: str
    judge: Judge
    subject: str = ""
    timeout: timedelta = timedelta(seconds=10)
    slow: bool = False
    plain: bool = False
    soon: bool = False
    late: bool = False
    bare: bool = False
    parts: tuple[Question, ...] = ()
    fetch: Fetch | None = None

    @property
    def shares(self) -> bool:
        """Whether others are asked in the same shell."""
        return self.plain or self.soon

    def alone(self) -> Sequence[Question]:
        """The same, each part in a shell of its own with all its time."""
        parts = self.parts or (self,)
        return [replace(part, plain=False, soon=False, late=False, slow=part.slow or part.late) for part in parts]


def ask(transport: Transport, questions: Sequence[Question], *, become: bool = True, head: str = "") -> list[Finding]:
    """Ask everything in one round trip; findings come in the order of the questions. `head` runs first, for all of them.

    Raises:
        HostError: the host could not be asked at all.
    """
    nonce = secrets.token_hex(8)
    reply = transport.run(f"{head}\n{script_of(questions, nonce)}", become=become, limits=limits_of(questions))
    answers = read_answers(reply, nonce)
    whole = {number: answer for number, answer in answers.items() if not (questions[number].parts and answer.exit_code)}
    found = {number: judged(questions[number], answer, reply) for number, answer in whole.items()}
    left = [number for number, question in enumerate(questions) if question.shares and number not in found]
    if left and _went_through(reply, nonce, len(questions)):
        found |= _asked_alone(transport, {number: questions[number] for number in left}, become=become, head=head)
    for number in range(len(questions)):
        if number not in found:
            found[number] = [f for part in questions[number].alone() for f in judged(part, None, reply)]
    return [finding for number in range(len(questions)) for finding in found[number]]


def _asked_alone(
    transport: Transport, questions: Mapping[int, Question], *, become: bool, head: str
) -> dict[int, list[Finding]]:
    """The findings of questions that got no answer together with others."""
    alone = [(number, part) for number, question in questions.items() for part in question.alone()]
    asked, nonce = [part for _, part in alone], secrets.token_hex(8)
    reply = transport.run(f"{head}\n{script_of(asked, nonce)}", become=become, limits=limits_of(asked))
    answers = read_answers(reply, nonce)
    found: dict[int, list[Finding]] = {number: [] for number in questions}
    for place, (number, part) in enumerate(alone):
        found[number] += judged(part, answers.get(place), reply)
    return found


def _went_through(reply: Reply, nonce: str, count: int) -> bool:
    """Whether what the shared shells said arrived: the rest was not asked, and the connection is not to blame."""
    return re.search(rf"{nonce}:(?:end$|(?:{count}|{count + 1}):end)", reply.text, re.MULTILINE) is not None


def script_of(questions: Sequence[Question], nonce: str) -> str:
    """The script that asks all questions."""
    alone = [(number, question) for number, question in enumerate(questions) if not question.shares]
    calls = [
        (f"ask {number} {question.timeout.total_seconds():g} {shlex.quote(question.script)}", question.slow)
        for number, question in alone
    ]
    beside = _shared_shell(questions, nonce, beside=True)
    background = [call for call, slow in calls if slow]
    if beside:
        background.append(f"ask_beside {len(questions) + 1} {beside}")
    lines = [f"{call} &" for call in background] + [call for call, slow in calls if not slow]
    if together := _shared_shell(questions, nonce, beside=False):
        lines.append(f"ask_beside {len(questions)} {together}" if background else f"ask_together {together}")
    wait = ["wait"] if background else []
    return "\n".join([*_functions(lines, nonce), *lines, *wait, ""])


def _functions(calls: Sequence[str], nonce: str) -> list[str]:
    known = {
        "ask": (_ASKING, ANSWER_BYTES),
        "ask_beside": (_ASKING_BESIDE, _TOGETHER_BYTES),
        "ask_together": (_ASKING_TOGETHER, _TOGETHER_BYTES),
    }
    called = dict.fromkeys(call.partition(" ")[0] for call in calls)
    return [known[name][0].replace("@NONCE@", nonce).replace("@BYTES@", str(known[name][1])) for name in called]


def _shared_shell(questions: Sequence[Question], nonce: str, *, beside: bool) -> str:
    """Time limit in seconds and script of the shell that many questions share; empty where there are none."""
    numbered = [(number, question) for number, question in enumerate(questions) if question.shares]
    plain = [(number, question) for number, question in numbered if question.plain and question.slow is beside]
    soon = [] if beside else [(number, question) for number, question in numbered if not question.plain]
    if not plain and not soon:
        return ""
    in_turn = groupby(sorted(plain, key=lambda one: one[1].late), lambda one: one[1].late and one[1].fetch is not None)
    text = "".join(_asked_in_turn(list(several), nonce, fetched=fetched) for fetched, several in in_turn)
    longest = sum(
        (_longest(question for _, question in plain if question.late is late) for late in (False, True)), timedelta()
    )
    if soon:
        by_kind = groupby(sorted(soon, key=_is_fetched), _is_fetched)
        brisk = "".join(
            _asked_in_turn(list(several), nonce, fetched=fetched, hasty=True) for fetched, several in by_kind
        )
        within = min(_SOON, _longest(question for _, question in soon))
        text += f"timeout -k 2 {within.total_seconds():g} sh -c {shlex.quote(brisk)}\n"
        longest += _SOON + timedelta(seconds=2)
    return f"{longest.total_seconds():g} {shlex.quote(text)}"


def _is_fetched(numbered: tuple[int, Question]) -> bool:
    return numbered[1].fetch is not None


def _longest(questions: Iterable[Question]) -> timedelta:
    return max((question.timeout for question in questions), default=timedelta())


def _asked_in_turn(several: Sequence[tuple[int, Question]], nonce: str, *, fetched: bool, hasty: bool = False) -> str:
    """Each asked by itself; what can be fetched with one curl is, and then by itself if that failed.

    Where there is no time to wait twice (`hasty`), what one URL that hangs took away is left without an answer.
    """
    alone = "".join(_asked_here(number, question, nonce) for number, question in several)
    if not fetched or len(several) == 1:
        return alone
    ends = [f"\\n{nonce}-{number} 0\\n" for number, _ in several]
    not_so = "".join(f"printf '\\n%s-%s again\\n' {nonce} {number}\n" for number, _ in several)
    if hasty:
        not_so, alone = f"code=$?\n{not_so}", f"[ $code -eq {CURL_TIMED_OUT} ] || {{\n{alone}}}\n"
    return at_once([question.fetch for _, question in several if question.fetch], ends, not_so + alone)


def _asked_here(number: int, question: Question, nonce: str) -> str:
    script = f"eval {shlex.quote(question.script)}"
    return f"{script if question.bare else f'({script})'}\nprintf '\\n%s-%s %s\\n' {nonce} {number} $?\n"


def limits_of(questions: Iterable[Question]) -> Limits:
    """Time for all of them: the quick ones one after the other, the slow ones together."""
    asked = list(questions)
    quick = sum((q.timeout for q in asked if not q.slow and not q.late and not q.soon), timedelta())
    slow = _longest(q for q in asked if (q.slow or q.late) and not q.soon)
    total = quick + slow + timedelta(seconds=30) + (_SOON if any(q.soon for q in asked) else timedelta())
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
    return answers | _together(reply, nonce)


def _together(reply: Reply, nonce: str) -> dict[int, Answer]:
    """The answers of the questions that shared a shell while nothing else was asked."""
    said = re.search(rf"\n{nonce}:begin\n(.*)\n{nonce}:end$", reply.text, re.DOTALL | re.MULTILINE)
    return _shared(said[1], nonce) if said else {}


def _single(number: int, raw: str) -> dict[int, Answer]:
    """The answer to a question that was asked alone: its text and, in the last line, its exit code."""
    body, newline, code = raw.rpartition("\n")
    return {number: Answer(int(code), body)} if newline and code.strip().isdecimal() else {}


def _shared(raw: str, nonce: str) -> dict[int, Answer]:
    """The answers of the questions that shared a shell, as far as they got."""
    found: dict[int, Answer] = {}
    began = 0
    for match in re.finditer(rf"\n{nonce}-(\d+) (\d+|again)\n", raw):
        if match[2] == "again":
            found.pop(int(match[1]), None)
        else:
            found[int(match[1])] = Answer(int(match[2]), _cut(raw[began : match.start()]))
        began = match.end()
    return found


def _cut(text: str) -> str:
    """No more of an answer than a question alone is given."""
    return text if len(text) * 4 <= ANSWER_BYTES else text.encode()[:ANSWER_BYTES].decode("utf-8", "ignore")


def judged(question: Question, answer: Answer | None, reply: Reply) -> list[Finding]:
    """The findings of one question; `unknown` where there is no answer or it ran out of time."""
    if answer is None:
        return [unknown(question.check, question.subject, "no answer came back", evidence=reply.stderr)]
    if answer.timed_out:
        reason = f"no answer within {question.timeout.total_seconds():g} s"
        return [unknown(question.check, question.subject, reason, evidence=answer.text)]
    findings = question.judge(answer)
    return [findings] if isinstance(findings, Finding) else list(findings)


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
