"""Plans: one intended change, with every default spelled out."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator

from upkeep.domain.approval_rule import EVERY, LATER, ApprovalRule, is_stage
from upkeep.domain.delivery import Delivery
from upkeep.domain.document import Document, Duration, Name, words
from upkeep.domain.failure import FailureRules
from upkeep.domain.isolation import Isolation
from upkeep.domain.notify_target import NotifyTarget
from upkeep.domain.profile import Pattern, Trust
from upkeep.domain.repairs import RaisedLevel, Repairs
from upkeep.domain.selector import Selector
from upkeep.domain.window import FreezeCalendar, Window


def _selector(value: str) -> str:
    Selector(value)
    return value


SelectorText = Annotated[str, AfterValidator(_selector)]
Pct = Annotated[float, Field(gt=0, le=100)]


class CanarySize(Document):
    """How many hosts go first: the largest of these, but never more than `at_most_share` of the fleet (and at least one)."""

    per_cohort: int = Field(1, ge=0)
    pct: float = Field(5, ge=0, le=100)
    at_least: int = Field(3, ge=1)
    at_most_share: float = Field(1 / 3, gt=0, le=1)


class Stage(Document):
    """A set of hosts changed under one rule. Exactly one of canary, pct, count, hosts says which."""

    name: str = ""
    canary: CanarySize | None = None
    pct: Pct | None = Field(None, description="Until this share of the whole fleet has had its turn (cumulative)")
    count: int | None = Field(None, ge=1, description="This many more hosts")
    hosts: SelectorText | None = Field(None, description="The hosts this selector picks that are still left")
    soak: Duration | None = Field(
        None, description="How long the stage is watched; default 10 min after the canary, 5 min after others"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
        if value == "canary":
            return {"canary": {}}
        if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value)):
            return {"pct": float(match[1])}
        if isinstance(value, int) and not isinstance(value, bool):
            return {"count": value}
        if isinstance(value, list):
            return {"hosts": ",".join(map(str, value))}
        if isinstance(value, str):
            message = f"'{value}' is not a stage; allowed: canary, a share like 25%, a number of hosts, a list of hosts, or a mapping"
            raise ValueError(message)  # noqa: TRY004 - pydantic reports ValueError with its place
        if isinstance(value, dict) and "canary" in value:
            alone = all(value.get(key) is None for key in ("pct", "count", "hosts"))
            if value["canary"] is True or (value["canary"] is None and alone):
                return {**value, "canary": {}}
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Stage:
        given = [key for key in ("canary", "pct", "count", "hosts") if getattr(self, key) is not None]
        if len(given) != 1:
            message = f"a stage needs exactly one of canary, pct, count, hosts; found {', '.join(given) or 'none'}"
            raise ValueError(message)
        return self

    @property
    def title(self) -> str:
        """The name, or what the stage is: `canary`, `25 %`, `4 hosts`, a selector."""
        if self.name or self.canary:
            return self.name or "canary"
        if self.pct is not None:
            return f"{self.pct:g} %"
        return f"{self.count} hosts" if self.count is not None else str(self.hosts)


class MetricSource(Document):
    """Where a gate's figure comes from: a Prometheus query, or a URL whose body holds it at a JSON path."""

    prometheus: str = Field("", description="Base URL of a Prometheus server")
    query: str = ""
    url: str = ""
    json_path: str = Field("", description="Dotted path in the JSON body, e.g. data.error_pct")

    @model_validator(mode="after")
    def _one_source(self) -> MetricSource:
        if bool(self.prometheus) == bool(self.url) or bool(self.prometheus) != bool(self.query):
            message = "give either prometheus with query, or url with json_path"
            raise ValueError(message)
        return self


class Trigger(Document):
    """A gate judged during soak (U7): the figure beyond its limit for the given time."""

    name: str
    source: MetricSource
    above: float | None = None
    below: float | None = None
    counter: bool = Field(
        default=False,
        description="The figure only ever grows: judged is its increase per second from one look to the next",
    )
    lasting: Duration = Field(timedelta(0), description="How long it must stay beyond the limit")
    then: Literal["hold", "roll back stage", "roll back all"] = "roll back stage"

    @model_validator(mode="after")
    def _one_limit(self) -> Trigger:
        if (self.above is None) == (self.below is None):
            message = "give exactly one of above, below"
            raise ValueError(message)
        return self


class Soak(Document):
    """How stages are watched before the next one starts."""

    canary: Duration = timedelta(minutes=10)
    other: Duration = timedelta(minutes=5)
    every: Duration = Field(
        timedelta(seconds=30), description="Time between two looks at the stage's hosts and the triggers' figures"
    )
    samples: int = Field(3, ge=1, description="Figures a trigger needs before it can say go")
    silent_limit: int = Field(4, ge=1, description="Times in a row a source may stay silent before the gate holds")


class SelfStart(Document):
    """What is started by itself whenever the plan's window opens."""

    runbook: Literal["maintenance", "staged_upgrade", "health_inspection"] = "maintenance"
    inventory: str = Field("inventory.yaml", min_length=1, description="Inventory file, relative to the plan")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
        return {"runbook": value} if isinstance(value, str) else value


class Capture(Document):
    """How long, and how many packets at the most, a diagnosis looks at what goes between agent and control centre."""

    lasting: Duration = Field(timedelta(0), description="At most 60 s; 0: not at all")
    packets: int = Field(2000, ge=10, le=20_000)

    @field_validator("lasting")
    @classmethod
    def _bounded(cls, value: timedelta) -> timedelta:
        if value > timedelta(seconds=60):
            message = "must be at most 60 s: a capture is a look, no recording"
            raise ValueError(message)
        return value


class Plan(Document):
    """One intended change."""

    name: Name
    profile: str = Field(description="Built-in profile name (ms-720) or a file, relative to the plan")
    release: str = Field(description="Signed release manifest: file relative to the plan, or URL")
    trust: Trust | None = Field(None, description="Who may sign the release, instead of what the profile says")
    targets: SelectorText = Field("all", description="Selector over the inventory, e.g. env=prod,zone!=b")
    stages: tuple[Stage, ...] = Field((Stage(canary=CanarySize()), Stage(pct=25), Stage(pct=100)), min_length=1)
    seed: int = Field(
        0, description="0: hosts in order of cohort and name; otherwise shuffled by this seed within each cohort"
    )
    spread_by: str = Field(
        "zone", description="Label of the failure domain; hosts in work at the same time are spread over it"
    )
    down_budget_pct: Pct = Field(
        10, description="Share of the fleet, at least one host, that may be down at once, sick hosts included"
    )
    at_once: int = Field(50, ge=1, le=500, description="Hosts in work at once at the most, whatever the budget allows")
    shards: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = Field(
        "auto",
        description="Flow runs on the work pool that share a run's hosts, when it was started as a deployment and the history is on "
        "PostgreSQL; auto: none below 200 hosts, then one more for every 200",
    )
    healthy_time: Duration = timedelta(seconds=60)
    healthy_deadline: Duration = timedelta(minutes=5)
    dead_man: Duration = timedelta(minutes=10)
    soak: Soak = Field(default_factory=Soak)
    failures: FailureRules = Field(default_factory=FailureRules)
    on_stop: Literal["keep", "roll back stage", "roll back all"] = Field(
        "keep", description="What happens to committed hosts when failures stop the run"
    )
    triggers: tuple[Trigger, ...] = ()
    known_errors: tuple[Pattern, ...] = Field((), description="Log lines of this release that are not held against it")
    delivery: Delivery = Field(default_factory=Delivery)
    rollback_window: Duration = timedelta(days=7)
    resume: Literal["by hand", "auto"] = Field(
        "by hand",
        description="Who goes on with a run whose controller died: a person, or the reconciliation of every minute",
    )
    window: tuple[Window, ...] = Field(
        (), description="When hosts may be changed: one window or a list, any of which may be open; default: any time"
    )
    freezes: tuple[FreezeCalendar, ...] = Field(
        (),
        description="iCalendar files or addresses; nothing is changed during their events, nor while one cannot be read",
    )
    schedule: SelfStart | None = Field(
        None, description="Start by itself whenever a window opens; default: only when a person or a ticket asks"
    )
    approvals: tuple[ApprovalRule, ...] = Field(
        (), description="People who must approve before a stage starts: one rule or a list, all of which must be met"
    )
    notify: dict[Name, NotifyTarget] = Field(
        default_factory=dict,
        description="Who is told about runs of this plan: a name, and env:NAME or file:PATH with the address",
    )
    isolation: Isolation | None = Field(
        None,
        description="Inspections take failing hosts out of service by these hooks, and put them back; default: never",
    )
    capture: Capture = Field(default_factory=Capture, description="Packets that connection_diagnosis looks at")
    log_level: RaisedLevel = Field(
        default_factory=RaisedLevel, description="The log level that connection_diagnosis may raise for a time"
    )
    repairs: Repairs = Field(default_factory=Repairs, description="What connection_diagnosis may repair by itself")
    notes: str = ""

    @field_validator("window", "freezes", "approvals", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
        return (value,) if isinstance(value, (str, dict)) else value

    @field_validator("dead_man")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if value < timedelta(seconds=10):
            message = "must be at least 10 s: the host needs time to start the new version"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        if self.dead_man <= self.healthy_deadline:
            message = (
                f"dead_man ({words(self.dead_man)}) must be longer than healthy_deadline ({words(self.healthy_deadline)}), "
                "or every host goes back while it is still being watched"
            )
            raise ValueError(message)
        if self.healthy_deadline <= self.healthy_time:
            message = f"healthy_deadline ({words(self.healthy_deadline)}) must be longer than healthy_time ({words(self.healthy_time)})"
            raise ValueError(message)
        _check_stages(self.stages)
        _check_approvals(self.approvals, self.stages)
        return self

    @model_validator(mode="after")
    def _starts_at_a_window(self) -> Plan:
        if self.schedule is not None and not self.window:
            message = "schedule starts the plan when its window opens, and the plan has no window; add window, or remove schedule"
            raise ValueError(message)
        return self

    def soak_of(self, stage: Stage) -> timedelta:
        """How long `stage` is watched."""
        if stage.soak is not None:
            return stage.soak
        return self.soak.canary if stage.canary else self.soak.other


def _check_stages(stages: tuple[Stage, ...]) -> None:
    shares = [stage.pct for stage in stages if stage.pct is not None]
    if any(later <= earlier for earlier, later in itertools.pairwise(shares)):
        message = f"stages: shares are cumulative and must rise; found {', '.join(f'{s:g}%' for s in shares)}"
        raise ValueError(message)
    if any(stage.canary for stage in stages[1:]):
        message = "stages: the canary comes first"
        raise ValueError(message)
    by_list = any(stage.hosts or stage.count for stage in stages)
    if not by_list and (not shares or shares[-1] != 100):  # noqa: PLR2004 - per cent
        message = f"stages never reach the whole fleet: the last share is {f'{shares[-1]:g}%' if shares else 'missing'}; end with 100%"
        raise ValueError(message)


def _check_approvals(rules: tuple[ApprovalRule, ...], stages: tuple[Stage, ...]) -> None:
    """A rule for a stage that is not there would never be asked for, and nobody would notice."""
    for rule in rules:
        if rule.stage not in {EVERY, LATER} and not any(is_stage(rule.stage, stage.title) for stage in stages):
            titles = ", ".join(stage.title for stage in stages)
            message = f"approvals: there is no stage '{rule.stage}'; allowed: every, later, {titles}"
            raise ValueError(message)


def fingerprint(*parts: BaseModel | dict[str, Any] | list[Any] | str) -> str:
    """SHA-256, in hex, over the parts' JSON with sorted keys: what an approval and a run are bound to."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return hashlib.sha256(
        json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()
