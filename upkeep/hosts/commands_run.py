"""Which scripts ran on a host, as root or not, how they ended and what they printed first: for the history and its evidence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from upkeep.errors import HostError
from upkeep.hosts.transport import Limits, Reply, Transport

_LOOKED_AT, _KEPT, _NAMED = 8000, 400, 120
"""Characters: what is masked, of that what is kept, and how much of a script tells which one it was."""

CHANGE = "change: "
"""Of the transaction's own phases what they print is kept: they print states and hashes. Anything else may print files of the host, or
base64 in which no secret would be seen and masked; what was made of that are the step's findings."""

_ASKS = ("\nask() {\n", "\nask_beside() {\n", "\nask_together() {\n")
"""The functions of upkeep/hosts/question.py; the change's own library has none of these names."""


@dataclass(frozen=True)
class CommandRun:
    """One script; `ended` says how when it did not end with an exit code."""

    name: str
    as_root: bool
    seconds: float
    exit_code: int | None = None
    ended: str = ""
    stdout: str = ""
    stderr: str = ""
    bytes_out: int = 0

    def told(self, clean: Callable[[str], str]) -> dict[str, Any]:
        """As it is written down: `clean` has gone over every text before it is cut, so that no part of a secret stays."""
        texts = {name: clean(text)[:_KEPT] for name, text in (("stdout", self.stdout), ("stderr", self.stderr))}
        facts: dict[str, Any] = {"command": clean(self.name)[:_NAMED], "as_root": self.as_root}
        facts |= {"seconds": round(self.seconds, 2), "bytes_out": self.bytes_out}
        facts |= {"exit_code": self.exit_code} if self.exit_code is not None else {"ended": clean(self.ended)[:_KEPT]}
        return facts | {name: text for name, text in texts.items() if text}


class Listened:
    """A host's transport that remembers what ran since it was asked last; output that streams to a sink is none of it."""

    def __init__(self, transport: Transport) -> None:
        self.host = transport.host
        self._transport = transport
        self._ran: list[CommandRun] = []
        self._lock = threading.Lock()

    def run(
        self,
        script: str,
        *,
        become: bool = False,
        stdin: Iterable[bytes] = (),
        sink: Callable[[bytes], None] | None = None,
        limits: Limits | None = None,
    ) -> Reply:
        """As the transport does."""
        try:
            reply = self._transport.run(script, become=become, stdin=stdin, sink=sink, limits=limits)
        except HostError as error:
            self._keep(CommandRun(named(script), become, 0.0, ended=f"{type(error).__name__}: {error}"[:_LOOKED_AT]))
            raise
        name, errors, size = named(script), reply.stderr[:_LOOKED_AT], len(reply.stdout)
        shown = reply.stdout[:_LOOKED_AT].decode("utf-8", "replace") if name.startswith(CHANGE) else ""
        self._keep(CommandRun(name, become, reply.seconds, reply.exit_code, "", shown, errors, size))
        return reply

    def rest(self) -> bool:
        """As the transport does."""
        return self._transport.rest()

    def close(self) -> None:
        """As the transport does."""
        self._transport.close()

    def ran(self) -> list[CommandRun]:
        """What ran since this was asked last."""
        with self._lock:
            ran, self._ran = self._ran, []
        return ran

    def _keep(self, one: CommandRun) -> None:
        with self._lock:
            self._ran.append(one)


def named(script: str) -> str:
    """Which script this is, as its author calls it: a phase of the change, the check's questions, or how it begins."""
    last = script.rstrip()[-_NAMED:].rpartition("\n")[2]
    if last.startswith("phase_"):
        return f"{CHANGE}{last.removeprefix('phase_').replace('_', ' ')}"
    if any(name in script for name in _ASKS):
        return "questions of the checks"
    return script.lstrip()[:_NAMED].partition("\n")[0]
