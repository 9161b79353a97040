"""Taking a failing host out of service and putting it back: which hosts, when, and who may."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from upkeep.domain.document import Document, Duration, words
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.inspection import Looked
from upkeep.domain.profile import Pattern


class Hook(Document):
    """What a site has to do for it: a command on the controller, or one HTTP request; {{ host }} and the host's vars are filled in."""

    command: tuple[str, ...] = Field((), description="Program and words; exit code 0 is success")
    url: str = Field("", description="Asked from the controller; any 2xx status is success")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    body: str = ""
    token_env: str = Field("", description="Environment variable on the controller that holds a bearer token")
    ca: str = Field("", description="CA file on the controller; default: the system's")
    timeout: Duration = timedelta(seconds=30)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.command) == bool(self.url):
            message = "a hook is either a command or a url; give exactly one"
            raise ValueError(message)
        return self


class Isolation(Document):
    """How failing hosts are taken out of service by an inspection, and put back when they have been healthy for a time."""

    drain: Hook = Field(description="Takes a host out of service; may be called twice")
    restore: Hook = Field(description="Puts a host back into service; may be called twice")
    asks: Hook | None = Field(None, description="Tells whether a host is in service now")
    drained: Pattern = Field("drain", description="Matches in what `asks` tells when a host is out of service")
    checks: tuple[Pattern, ...] = Field(
        (r"service\.(active|masked|start_limit)", r"net\.http\..*", r"metric\..*", r"agent\.state"),
        min_length=1,
        description="Ids of checks: a host on which one of these fails is failing",
    )
    healthy_for: Duration = Field(timedelta(minutes=10), description="So long it must be healthy before it goes back")
    at_most_pct: Annotated[float, Field(gt=0, le=100)] = Field(
        10, description="Share of the hosts, at least one, that may be out of service by Upkeep at once"
    )

    def failing(self, problems: Sequence[Finding]) -> list[Finding]:
        """Why a host is failing; empty when it is not."""
        return [f for f in problems if f.verdict is Verdict.FAIL and self._counts(f)]

    def healthy(self, look: Looked) -> bool:
        """Whether nothing that counts fails; what is unknown is not healthy."""
        return not any(finding.blocks and self._counts(finding) for finding in look.problems)

    def most(self, hosts: int) -> int:
        """How many hosts of so many may be out of service at once."""
        return max(1, math.floor(hosts * self.at_most_pct / 100))

    def _counts(self, finding: Finding) -> bool:
        return any(re.fullmatch(pattern, finding.check) for pattern in self.checks)


@dataclass(frozen=True)
class Drained:
    """A host that Upkeep took out of service."""

    host: str
    run: str
    by: str
    at: datetime
    finished: bool = True
    """Whether the hook is known to have ended; its controller may have died before."""


@dataclass(frozen=True)
class Decision:
    """What an inspection does about the hosts: whom to take out, whom to put back, and what is only told."""

    drain: Mapping[str, str]
    restore: tuple[str, ...]
    told: tuple[str, ...]


def decide(
    rules: Isolation,
    looks: Mapping[str, Looked],
    earlier: Mapping[str, Sequence[Looked]],
    ours: Mapping[str, Drained],
    hosts: int,
) -> Decision:
    """Failing hosts out, as far as the budget goes; those that Upkeep took out back, once they have been healthy for long enough."""
    drain: dict[str, str] = {}
    restore: list[str] = []
    told: list[str] = []
    left = rules.most(hosts) - len(ours)
    for host, look in sorted(looks.items()):
        failing = rules.failing(look.problems)
        if host in ours and failing and not ours[host].finished:
            drain[host] = f"{failing[0].key}: {failing[0].reason}"
            left += 1
        elif host in ours:
            since = healthy_since(rules, [*earlier.get(host, ()), look], ours[host].at)
            if since is not None and look.at - since >= rules.healthy_for:
                restore.append(host)
            elif since is not None:
                told.append(
                    f"{host} stays out of service: healthy for {words(look.at - since)}, not yet for {words(rules.healthy_for)}"
                )
        elif failing and len(drain) < left:
            drain[host] = f"{failing[0].key}: {failing[0].reason}"
        elif failing:
            told.append(
                f"{host} is failing and stays in service: at most {rules.most(hosts)} of {hosts} hosts may be out at once"
            )
    return Decision(drain, tuple(restore), tuple(told))


def healthy_since(rules: Isolation, looks: Sequence[Looked], drained_at: datetime) -> datetime | None:
    """Since when a host has been healthy at every look, of those after it was taken out; None when it is not."""
    since = None
    for look in looks:
        if look.at > drained_at:
            since = (since or look.at) if rules.healthy(look) else None
    return since
