"""The catalogue's entries: one question to a host, how its answer is judged, what to do about it, and what it serves."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from upkeep.domain.document import Document, Duration, each_once
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.profile import CommandProbe, DnsProbe, HttpProbe, Metric, Pattern, TcpProbe, TlsProbe
from upkeep.domain.setting import Setting

_ID = re.compile(r"^[a-z][a-z0-9_]*(\.(<[a-z]+>|[a-z0-9][a-z0-9_-]*))+$")
_MOST_EVIDENCE = 600

CONTROLLER = "controller"
"""The look that asks no host: the controller answers from what it keeps."""

Purpose = Literal["pre-update", "verification", "inspection", "diagnosis"]
Cost = Literal["shared", "own process", "network", "controller"]


def _check_id(value: str) -> str:
    if not _ID.match(value):
        message = f"'{value}' is not a check id; allowed: lower case words joined by dots, e.g. site.queue.depth"
        raise ValueError(message)
    return value


CheckId = Annotated[str, AfterValidator(_check_id)]


class Limit(Document):
    """From where on a figure is no longer good; the limit itself still is."""

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.above is None and self.below is None:
            message = "says nothing; allowed: above: NUMBER, below: NUMBER, or both"
            raise ValueError(message)
        return self

    def broken_by(self, value: float) -> bool:
        """Whether a figure is beyond it."""
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)

    def words(self, unit: str) -> str:
        """What is accepted, for people."""
        parts = [f"at least {self.below:g}"] if self.below is not None else []
        parts += [f"at most {self.above:g}"] if self.above is not None else []
        return f"{' and '.join(parts)} {unit}".strip() + " is accepted"


class Trend(Document):
    """A figure that runs towards a limit: reported once it will be reached within this many days."""

    reaches: float = Field(description="The figure at which it is too late, e.g. 100 for per cent used")
    within_days: float = Field(14, gt=0)


class Check(Document):
    """One check. Exactly one of the ways to ask has to be given."""

    id: CheckId
    asks: str = Field(description="The question, as one asks it a colleague")
    group: str = Field("", description="Chapter of the catalogue; default: the id's first word")
    look: str = Field("", description="Look of Upkeep's own whose answer is read")
    key: str = Field("", description="Which line of the look; default: the id without its first word")
    script: str = Field(
        "", description="sh that prints lines VALUE<TAB>SUBJECT<TAB>DETAIL; runs as root, changes nothing"
    )
    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    dns: DnsProbe | None = None
    tls: TlsProbe | None = None
    command: CommandProbe | None = None
    metric: Metric | None = None
    setting: Setting | None = None
    built_in: str = Field("", description="Asked and judged by Upkeep's own code; named here to be found and explained")
    needs: tuple[str, ...] = Field((), description="Variables of the host without which the check is not asked")
    uses: tuple[str, ...] = Field((), description="More variables its script may have, as $V_NAME like those it needs")
    warn: Limit | None = None
    fail: Limit | None = None
    good: Pattern | None = Field(None, description="For words: what a good answer matches")
    severity: Literal["warn", "fail"] = Field("fail", description="What a word that is not good is")
    unit: str = ""
    says: str = Field("", description="The finding's sentence; {value}, {subject} and {detail} are filled in")
    remedy: str = ""
    counts_up: bool = Field(default=False, description="A counter: what came since the last look is judged")
    new: bool = Field(default=False, description="A subject that no earlier inspection saw on the host is told")
    trend: Trend | None = None
    peers: bool = Field(default=False, description="Hosts that differ from their cohort are named")
    drift: bool = Field(default=False, description="Compared with what the last run left")
    purposes: tuple[Purpose, ...] = ("inspection",)
    serves: tuple[str, ...] = Field((), description="Requirement rows")
    timeout: Duration = timedelta(seconds=10)

    @model_validator(mode="before")
    @classmethod
    def _probes_are_named_by_the_check(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        name = str(value.get("id", "")).rpartition(".")[2] or "x"
        named = {k: {"id": name, **v} for k, v in value.items() if k in _PROBES and isinstance(v, dict)}
        return {**value, **named}

    @model_validator(mode="after")
    def _asks_in_one_way(self) -> Self:
        ways = self.ways
        if len(ways) != 1:
            message = (
                f"asks in {len(ways)} ways ({', '.join(ways) or 'none'}); allowed: exactly one of {', '.join(_WAYS)}"
            )
            raise ValueError(message)
        judged = (
            self.good or self.warn or self.fail or self.drift or self.peers or self.counts_up or self.trend or self.new
        )
        if ways[0] in {"look", "script", "setting"} and not judged:
            allowed = "good: PATTERN, warn or fail: {above: …, below: …}, counts_up, new, trend, peers, drift"
            message = f"nothing says which answer is good; allowed: {allowed}"
            raise ValueError(message)
        return self

    @property
    def ways(self) -> tuple[str, ...]:
        """How it asks; a valid check has exactly one way."""
        return tuple(way for way in _WAYS if getattr(self, way))

    @property
    def chapter(self) -> str:
        """Where the catalogue lists it."""
        return self.group or self.id.partition(".")[0]

    @property
    def reads(self) -> str:
        """The key of the look's line it reads."""
        return self.key or self.id.partition(".")[2]

    @property
    def cost(self) -> Cost:
        """What asking costs a host: a part of a shared script, a process of its own, or a way over the network."""
        way = self.ways[0]
        if self.look == CONTROLLER:
            return "controller"
        if way == "look":
            return "shared"
        if self.built_in.startswith("controller"):
            return "controller"
        return "network" if way in {"http", "tcp", "dns", "tls"} else "own process"

    def matches(self, check: str) -> bool:
        """Whether a finding's check is this one; `<id>` in an id stands for one word."""
        if "<" not in self.id:
            return check == self.id
        pattern = re.sub(r"<[a-z]+>", "[^.]+", re.escape(self.id).replace(r"\<", "<").replace(r"\>", ">"))
        return re.fullmatch(pattern, check) is not None


_PROBES = ("http", "tcp", "dns", "tls", "command", "metric")
_WAYS = ("look", "script", *_PROBES, "setting", "built_in")


class Adjustment(Document):
    """What a site changes of a check of the catalogue."""

    off: bool = False
    warn: Limit | None = None
    fail: Limit | None = None
    remedy: str | None = None
    trend: Trend | None = None


class CheckFile(Document):
    """A file of checks: a site's own, and what it changes of those that are there."""

    checks: tuple[Check, ...] = ()
    adjust: dict[str, Adjustment] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _no_check_twice(self) -> Self:
        each_once(check.id for check in self.checks)
        return self


@dataclass(frozen=True)
class Catalogue:
    """All checks there are, in their order; those a site switched off are left out of what is asked."""

    checks: tuple[Check, ...]
    off: frozenset[str] = frozenset()
    _found: dict[str, Check | None] = field(default_factory=dict, repr=False, compare=False)

    def asked(self, purpose: Purpose, variables: Mapping[str, str]) -> list[Check]:
        """What a host with these variables is asked for a purpose."""
        return [
            check
            for check in self.checks
            if purpose in check.purposes and check.id not in self.off and all(variables.get(n) for n in check.needs)
        ]

    def find(self, check: str) -> Check | None:
        """The entry that a finding's check belongs to; one named in full before one with a placeholder."""
        if check not in self._found:
            exact = self._by_id.get(check)
            self._found[check] = exact or next((one for one in self.checks if one.matches(check)), None)
        return self._found[check]

    @functools.cached_property
    def _by_id(self) -> dict[str, Check]:
        return {check.id: check for check in reversed(self.checks)}


@dataclass(frozen=True)
class Line:
    """One line a look printed: `none` says that there is nothing to judge, `?` that it could not be told."""

    value: str
    subject: str = ""
    detail: str = ""


NOTHING, UNTOLD = "none", "?"


def judge(check: Check, lines: Iterable[Line]) -> list[Finding]:
    """The findings of a check from what was answered; a silent host makes it unknown."""
    found = [_judged(check, line) for line in lines]
    return found or [_unknown(check, Line(UNTOLD, "", "the host said nothing about it"))]


def _judged(check: Check, line: Line) -> Finding:
    if line.value == UNTOLD:
        return _unknown(check, line)
    if line.value == NOTHING:
        return _finding(check, line, Verdict.PASS, f"nothing to judge: {line.detail or 'there is none'}")
    return _word(check, line) if check.good is not None else _figure(check, line)


def _word(check: Check, line: Line) -> Finding:
    good = re.search(check.good or "", line.value) is not None
    return _finding(check, line, Verdict.PASS if good else Verdict(check.severity), _said(check, line))


def _figure(check: Check, line: Line) -> Finding:
    if check.drift or (check.peers and not (check.warn or check.fail or check.trend)):
        return _finding(check, line, Verdict.PASS, _said(check, line))
    value = number(line.value)
    if value is None:
        return _unknown(check, Line(UNTOLD, line.subject, f"'{line.value[:60]}' is no number"))
    for verdict, limit in ((Verdict.FAIL, check.fail), (Verdict.WARN, check.warn)):
        if limit is not None and not check.counts_up and limit.broken_by(value):
            return _finding(check, line, verdict, f"{_said(check, line)}, {limit.words(check.unit)}")
    return _finding(check, line, Verdict.PASS, _said(check, line))


def _said(check: Check, line: Line) -> str:
    value = f"{number(line.value):g}" if number(line.value) is not None else line.value
    said = check.says or "{subject} {value} {detail}"
    for name, text in (("value", value), ("subject", line.subject), ("detail", line.detail)):
        said = said.replace(f"{{{name}}}", text)
    return " ".join(said.split())


def _finding(check: Check, line: Line, verdict: Verdict, reason: str) -> Finding:
    remedy = check.remedy.replace("{subject}", line.subject) if verdict is not Verdict.PASS else ""
    return Finding(
        check=check.id,
        subject=line.subject,
        verdict=verdict,
        reason=reason,
        evidence=line.detail[:_MOST_EVIDENCE] if verdict is not Verdict.PASS or check.drift else "",
        remedy=remedy,
        value=number(line.value),
        unit=check.unit,
        signatures=(line.value,) if check.drift or (check.peers and number(line.value) is None) else (),
    )


def _unknown(check: Check, line: Line) -> Finding:
    return Finding(
        check=check.id,
        subject=line.subject,
        verdict=Verdict.UNKNOWN,
        reason=line.detail or "it could not be told",
        remedy="ask by hand: upkeep checks try HOST; look at the host if it stays so",
    )


def number(text: str) -> float | None:
    """The figure in a text; None where it is none."""
    return float(text) if re.fullmatch(r"-?\d{1,18}(\.\d+)?", text) else None
