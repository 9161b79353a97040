"""What a plan demands of people before a stage starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import Field, field_validator, model_validator

from upkeep.domain.document import Document, Duration, Name
from upkeep.domain.person import Person, Role

EVERY, LATER = "every", "later"
OVERRIDE = "override of the window"
"""What is approved when a run may go on while its window is closed or a freeze holds; not a stage."""
_SHORTEST = timedelta(minutes=1)


class ApprovalRule(Document):
    """Before a stage: this many people who have one of these roles, or are one of these people."""

    stage: str = Field(
        EVERY, description="A stage as the plan calls it (canary, 25 %), every, or later (all but the first)"
    )
    needed: int = Field(1, ge=1, le=20, description="How many different people; never the one who asked for the run")
    roles: tuple[Role, ...] = Field(
        (), description="approver, on-call, tech lead, sre; default: approver, unless people are named"
    )
    people: tuple[Name, ...] = Field((), description="People who count whatever their roles")
    expires: Duration = Field(timedelta(days=7), description="How long a run waits, and how long a yes counts")

    @field_validator("expires")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if value < _SHORTEST:
            message = "must be at least 1 min: nobody approves faster"
            raise ValueError(message)
        return value

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
        if not isinstance(value, dict):
            return value
        listed = {key: (item,) for key, item in value.items() if key in {"roles", "people"} and isinstance(item, str)}
        return value | listed

    @model_validator(mode="after")
    def _enough_people(self) -> ApprovalRule:
        if self.people and not self.roles and len(set(self.people)) < self.needed:
            message = f"needs {self.needed} people and names {len(set(self.people))}: it could never be met"
            raise ValueError(message)
        return self

    @property
    def counted_roles(self) -> tuple[str, ...]:
        """The roles that count."""
        return self.roles or (() if self.people else ("approver",))

    def counts(self, person: Person) -> bool:
        """Whether this person's yes counts."""
        return person.has(*self.counted_roles) or person.name in self.people

    def told(self) -> str:
        """The rule in words."""
        who = " or ".join([*self.counted_roles, *self.people])
        return f"{self.needed} {'person' if self.needed == 1 else 'people'} ({who})"


OVERRIDE_RULE = ApprovalRule(
    stage=OVERRIDE, roles=("approver", "on-call", "tech lead", "sre"), expires=timedelta(days=1)
)


def rules_for(rules: Iterable[ApprovalRule], subject: str, *, first: bool) -> tuple[ApprovalRule, ...]:
    """The rules that hold for a stage (by the name it has in the run), or for the override of a window."""
    if subject == OVERRIDE:
        return (OVERRIDE_RULE,)
    return tuple(
        rule
        for rule in rules
        if rule.stage == EVERY or (rule.stage == LATER and not first) or is_stage(rule.stage, subject)
    )


def is_stage(title: str, name: str) -> bool:
    """Whether a planned stage was made from the stage of this title: `25 %`, or `25 % (2)` where the name was taken; 25% is 25 %."""
    plain, wanted = (text.replace(" ", "").casefold() for text in (name, title))
    return plain == wanted or (
        plain.startswith(f"{wanted}(") and plain.endswith(")") and plain[len(wanted) + 1 : -1].isdigit()
    )


@dataclass(frozen=True)
class Awaited:
    """What people have to approve before a run goes on."""

    subject: str
    rules: tuple[ApprovalRule, ...]

    def told(self) -> str:
        """In words, for reports and notifications."""
        what = f"the {self.subject}" if self.subject == OVERRIDE else f"stage '{self.subject}'"
        return f"waits for the approval of {what} by {' and '.join(rule.told() for rule in self.rules)}"
