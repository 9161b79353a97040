"""A host that answers as it is told: for tests, rehearsals and dry thinking."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from upkeep.domain.document import words
from upkeep.errors import CommandTimeout, GarbledOutput, HostError, Unreachable
from upkeep.hosts.answer import Pile
from upkeep.hosts.transport import Limits, Reply


@dataclass(frozen=True)
class FakeCall:
    """One script a fake host was asked to run."""

    host: str
    script: str
    become: bool
    stdin: bytes
    limits: Limits


Outcome = Reply | HostError | str | Callable[[FakeCall], Reply]


@dataclass
class ManualClock:
    """Seconds that pass only when told to; hand the same clock to several hosts and to what is tested."""

    now: float = 0.0

    def __call__(self) -> float:
        """Seconds so far."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class _Rule:
    pattern: str | re.Pattern[str]
    outcomes: list[Outcome]
    seconds: float

    def fits(self, script: str) -> bool:
        return self.pattern in script if isinstance(self.pattern, str) else self.pattern.search(script) is not None

    def next(self) -> Outcome:
        """The outcomes in their order; the last one again and again."""
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


@dataclass
class FakeTransport:
    """A scripted host: `on` says what a script is answered, later rules before earlier ones; `calls` holds what was asked, in order."""

    host: str = "fake"
    clock: ManualClock = field(default_factory=ManualClock)
    calls: list[FakeCall] = field(default_factory=list)
    closed: bool = False
    _rules: list[_Rule] = field(default_factory=list)
    _failures: dict[int, HostError] = field(default_factory=dict)
    _away: HostError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, pattern: str | re.Pattern[str], *outcomes: Outcome, seconds: float = 0.0) -> FakeTransport:
        """Answer scripts that contain `pattern`: a text is standard output of a success, an error is raised, a callable is asked.

        Several outcomes are given in turn, the last one for good. Each takes `seconds` of the clock.
        """
        self._rules.insert(0, _Rule(pattern, list(outcomes) or [""], seconds))
        return self

    def fail_call(self, number: int, error: HostError | None = None) -> FakeTransport:
        """Let the call with this number (from 1) raise `error`, by default a broken connection."""
        self._failures[number] = error or Unreachable(self.host, "the connection broke while the script ran")
        return self

    def go_away(self, error: HostError | None = None) -> FakeTransport:
        """Let every call from now on raise `error`, by default an unreachable host."""
        self._away = error or Unreachable(self.host, "no TCP connection to the host")
        return self

    def come_back(self) -> FakeTransport:
        """Undo `go_away`."""
        self._away = None
        return self

    def run(
        self,
        script: str,
        *,
        become: bool = False,
        stdin: Iterable[bytes] = (),
        sink: Callable[[bytes], None] | None = None,
        limits: Limits | None = None,
    ) -> Reply:
        """Answer as told; see `Transport.run`.

        Raises:
            HostError: as told; CommandTimeout when the answer takes longer than the total limit.
            GarbledOutput: nothing was told about this script.
        """
        call = FakeCall(self.host, script, become, b"".join(stdin), limits or Limits())
        with self._lock:
            self.calls.append(call)
            rule = self._rule(call, len(self.calls))
            outcome = rule.next()
        self._pass_time(rule.seconds, call.limits)
        return _delivered(_reply(outcome, call, rule.seconds), call.limits, sink)

    def rest(self) -> bool:
        """Note that the connection was given back."""
        self.closed = True
        return True

    def close(self) -> None:
        """Note that the connection was given back."""
        self.closed = True

    @property
    def scripts(self) -> list[str]:
        """The scripts run so far."""
        return [call.script for call in self.calls]

    def _rule(self, call: FakeCall, number: int) -> _Rule:
        if error := self._failures.get(number) or self._away:
            raise error
        for rule in self._rules:
            if rule.fits(call.script):
                return rule
        raise GarbledOutput(self.host, "the fake host was not told what to answer", evidence=call.script)

    def _pass_time(self, seconds: float, limits: Limits) -> None:
        total = limits.total.total_seconds()
        self.clock.advance(min(seconds, total))
        if seconds >= total:
            raise CommandTimeout(
                self.host, f"the script was still running after {words(limits.total)} (total limit) and was hung up on"
            )


def _reply(outcome: Outcome, call: FakeCall, seconds: float) -> Reply:
    if isinstance(outcome, HostError):
        raise outcome
    if isinstance(outcome, str):
        return Reply(0, outcome.encode(), "", seconds)
    return outcome if isinstance(outcome, Reply) else outcome(call)


def _delivered(reply: Reply, limits: Limits, sink: Callable[[bytes], None] | None) -> Reply:
    """The reply as a real transport hands it over: bounded, or through the sink."""
    if sink is not None:
        if reply.stdout:
            sink(reply.stdout)
        return replace(reply, stdout=b"")
    kept = Pile(limits.output_bytes)
    kept.add(reply.stdout)
    return replace(reply, stdout=bytes(kept.pieces), truncated=reply.truncated or kept.truncated)
