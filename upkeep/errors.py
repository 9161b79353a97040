"""Everything Upkeep raises, in one tree.

UpkeepError                     exit 1
├── BadInput                    exit 2, nothing touched
│   └── UntrustedRelease        a release whose manifest, signature or archive cannot be trusted
├── Refused                     exit 4, nothing touched (window, approval, lock, rollback not possible)
│   └── HostLocked              another run owns the host
├── HostError                   one host; becomes that host's outcome
│   ├── Unreachable             no connection, or it broke
│   │   └── HostKeyRejected     unknown, changed or revoked host key
│   ├── LoginRefused            the host answered and turned us away
│   ├── PrivilegeRefused        sudo said no
│   ├── CommandFailed           a script ended with a code other than 0
│   ├── CommandTimeout          connect, idle or total time limit
│   └── GarbledOutput           the host's answer cannot be read
├── Cancelled                   the run was cancelled before this step; nothing of it was done
├── StepFailed                  one step of a run on one host; carries its cause
├── ArtifactError               download or delivery of an artifact
│   └── ChecksumMismatch        size or SHA-256 differ from the manifest
├── BackupError                 a backup that is not complete or does not compare
├── ServiceError                an outside system over HTTP
│   ├── ServiceBusy             it asks us to come back later
│   └── ServiceRefused          it understood and will not; asking again does not help
└── AuditError                  the history cannot be written or read; nothing may change

An error holds its facts as fields, builds its own message and says whether trying again can help.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Self


class UpkeepError(Exception):
    """Anything Upkeep raises on purpose."""

    exit_code = 1
    retryable = False

    def masked(self, clean: Callable[[str], str]) -> Self:
        """This error, with `clean` having gone over its message and the facts it holds: others write down what they catch."""
        self.args = tuple(clean(part) if isinstance(part, str) else part for part in self.args)
        for name, value in vars(self).items():
            if isinstance(value, str):
                setattr(self, name, clean(value))
        return self


@dataclass(frozen=True)
class Place:
    """Where in a document something was found; lines count from 1."""

    file: str
    line: int | None = None
    key: str = ""

    def __str__(self) -> str:
        """`file:line: key`, without the parts that are not known."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.key}" if self.key else where


class BadInput(UpkeepError):
    """A person's document or argument cannot be used: says where, what was found, what is allowed, what to do."""

    exit_code = 2

    def __init__(
        self, problem: str, *, place: Place | None = None, found: object = None, allowed: str = "", remedy: str = ""
    ) -> None:
        self.problem, self.place, self.found, self.allowed, self.remedy = problem, place, found, allowed, remedy
        parts = [f"{place}: {problem}" if place else problem]
        if found is not None:
            parts.append(f"found: {shorten(str(found))}")
        if allowed:
            parts.append(f"allowed: {allowed}")
        if remedy:
            parts.append(f"do: {remedy}")
        super().__init__("; ".join(parts))


class UntrustedRelease(BadInput):
    """A release manifest, signature or archive that must not reach a host."""


class Refused(UpkeepError):
    """Policy says no before anything was touched."""

    exit_code = 4

    def __init__(self, reason: str, *, remedy: str = "") -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(f"{reason}; do: {remedy}" if remedy else reason)


class HostError(UpkeepError):
    """Something about one host; `step` is filled in by the step that was running."""

    def __init__(self, host: str, problem: str, *, remedy: str = "", evidence: str = "") -> None:
        self.host, self.problem, self.remedy, self.evidence = host, problem, remedy, evidence
        parts = [f"{host}: {problem}"]
        if evidence:
            parts.append(f"evidence: {shorten(evidence)}")
        if remedy:
            parts.append(f"do: {remedy}")
        super().__init__("; ".join(parts))


class HostLocked(HostError, Refused):
    """Another run owns the host."""

    def __init__(self, host: str, problem: str, *, remedy: str = "", evidence: str = "") -> None:
        super().__init__(host, problem, remedy=remedy, evidence=evidence)
        self.reason, self.remedy = problem, remedy  # Refused, next in line, took the whole text for its reason


class Unreachable(HostError):
    """No connection to the host, or the connection broke."""

    retryable = True


class HostKeyRejected(Unreachable):
    """The host's key is unknown, changed or revoked; trying again cannot help."""

    retryable = False


class LoginRefused(HostError):
    """The host answered and refused every key offered."""


class PrivilegeRefused(HostError):
    """Sudo refused: no rule, wrong or missing password, or a terminal is demanded."""


class CommandFailed(HostError):
    """A script on the host ended with an exit code other than 0."""

    def __init__(self, host: str, problem: str, *, exit_code: int, evidence: str = "", remedy: str = "") -> None:
        self.command_exit_code = exit_code
        super().__init__(host, f"{problem} (exit code {exit_code})", evidence=evidence, remedy=remedy)


class CommandTimeout(HostError):
    """A time limit on the host passed: `limit` says which, in words."""

    retryable = True


class GarbledOutput(HostError):
    """A script's answer is cut or not what the script prints."""


class Cancelled(UpkeepError):
    """The run was cancelled; the step it is raised for was not begun."""


class StepFailed(UpkeepError):
    """A step of a run failed on one host; `cause` says why and what to do."""

    def __init__(self, host: str, step: str, cause: UpkeepError) -> None:
        self.host, self.step, self.cause = host, step, cause
        text = str(cause)
        super().__init__(f"{host}, step {step}: {text.removeprefix(f'{host}: ')}")


class ArtifactError(UpkeepError):
    """An artifact could not be fetched or delivered."""

    retryable = True


class ChecksumMismatch(ArtifactError):
    """An artifact's size or SHA-256 is not the one the signed manifest names."""

    retryable = False


class BackupError(UpkeepError):
    """A backup is incomplete, differs from what it was taken from, or cannot be opened."""

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        self.remedy = remedy
        super().__init__(f"{problem}; do: {remedy}" if remedy else problem)


class ServiceError(UpkeepError):
    """An outside system did not answer, or not as agreed."""

    retryable = True


class ServiceBusy(ServiceError):
    """An outside system asks for time: `retry_after` is how long at least."""

    def __init__(self, problem: str, retry_after: timedelta) -> None:
        self.retry_after = retry_after
        super().__init__(problem)


class ServiceRefused(ServiceError):
    """An outside system understood the question and will not do it; asking again does not help."""

    retryable = False


class AuditError(UpkeepError):
    """The history cannot be written or read; no side effect may follow."""


def shorten(text: str, limit: int = 400) -> str:
    """Text on one line, at most `limit` characters, the cut marked."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
