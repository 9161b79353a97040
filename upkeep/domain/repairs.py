"""What may be repaired by itself when a diagnosis names a cause, and how; what is done is safe to repeat and can be taken back."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from upkeep.domain.document import Document, Duration, FileMode
from upkeep.domain.profile import AbsolutePath, Pattern

RepairKind = Literal["start", "restart", "permissions", "configuration", "chain", "interval"]
ALL_KINDS: tuple[RepairKind, ...] = ("start", "restart", "permissions", "configuration", "chain", "interval")
FILE_KINDS = frozenset({"configuration", "chain", "interval"})
"""They change what a file holds."""

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class RenewedFile(Document):
    """A file on the host that is written anew from a template."""

    path: AbsolutePath
    template: str = Field(description="File on the controller, relative to the plan; {{ placeholders }} as in profiles")
    mode: FileMode | None = Field(None, description="Default: as the file had it, 0644 for a new one")


class CompletedChain(Document):
    """A file of certificates on the host that has to hold some more."""

    path: AbsolutePath
    certificates: str = Field(description="PEM file on the controller, relative to the plan, with what may be missing")


class SetInterval(Document):
    """A figure in the agent's configuration, e.g. its heartbeat interval."""

    path: AbsolutePath
    pattern: Pattern = Field(description=r"Finds the figure, its one group, e.g. heartbeat_interval:\s*(\d+)")
    value: str = Field(description="What it should be")

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, value: str) -> str:
        if re.compile(value).groups != 1:
            message = "must have exactly one group, which is the figure"
            raise ValueError(message)
        return value


class RaisedLevel(Document):
    """The agent's log level: where it stands, and what it is raised to for how long."""

    path: AbsolutePath | Literal[""] = ""
    pattern: Pattern = Field(r"^log_level:\s*(\w+)", description="Finds the level, its one group, in one line")
    value: str = Field("DEBUG", pattern=r"^[A-Za-z0-9_-]+$")
    reload: str = Field("", description="sh on the host that lets the agent read it; default: restart the unit")
    lasting: Duration = Field(timedelta(0), description="At most 30 min; 0: not at all")

    @field_validator("lasting")
    @classmethod
    def _bounded(cls, value: timedelta) -> timedelta:
        if value > timedelta(minutes=30):
            message = "must be at most 30 min: a raised level fills disks"
            raise ValueError(message)
        return value


class Repairs(Document):
    """Which causes connection_diagnosis may remove by itself, once it is asked to and it is approved."""

    apply: bool = Field(default=False, description="Repair, not only diagnose")
    allow: tuple[RepairKind, ...] = Field(ALL_KINDS, description="What may be done at all")
    configuration: tuple[RenewedFile, ...] = ()
    chain: CompletedChain | None = None
    interval: SetInterval | None = None
    attempts: int = Field(3, ge=1, le=10, description="How often a service is started before it is given up")
    backoff: Duration = Field(timedelta(seconds=5), description="Pause before the second start; doubles each time")
    steady: Duration = Field(timedelta(seconds=3), description="So long one process must stay after a start")
    verify_within: Duration = Field(
        timedelta(seconds=60), description="So soon the cause must be gone, or what was changed is put back"
    )

    def possible(self, kind: RepairKind) -> bool:
        """Whether this kind is allowed and the plan says all it needs."""
        needs = {"configuration": bool(self.configuration), "chain": self.chain, "interval": self.interval}
        return kind in self.allow and bool(needs.get(kind, True))


def with_certificates(text: str, wanted: str) -> str:
    """A PEM file's text with the wanted certificates behind those it holds; unchanged when all are there."""
    there = {_bare(block) for block in _PEM.findall(text)}
    missing = [block for block in _PEM.findall(wanted) if _bare(block) not in there]
    if not missing:
        return text
    return "\n".join([text.rstrip("\n"), *missing, ""]).lstrip("\n")


def with_value(text: str, pattern: str, value: str) -> str | None:
    """The text with the one group of the pattern's first match replaced; None when nothing matches."""
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        return None
    return text[: found.start(1)] + value + text[found.end(1) :]


def raised_line(text: str, pattern: str, value: str) -> tuple[str, str] | None:
    """The line that holds the level, as it is and raised; None when there is none or it is raised already."""
    new = with_value(text, pattern, value)
    if new is None or new == text:
        return None
    return next((old, raised) for old, raised in zip(text.splitlines(), new.splitlines(), strict=True) if old != raised)


def _bare(block: str) -> str:
    return re.sub(r"\s", "", block)
