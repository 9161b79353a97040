"""Where people are told about a run."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from upkeep.domain.document import Document, Name

Kind = Literal[
    "waiting for approval",
    "stage done",
    "rolled back",
    "held",
    "quarantined",
    "missed window",
    "finished",
    "health changed",
    "new release",
    "release refused",
    "plan unreadable",
]
KINDS: tuple[str, ...] = get_args(Kind)


class NotifyTarget(Document):
    """One place to send messages to. Its address is a secret, so that only where it is kept is written down."""

    url: str = Field(description="env:NAME or file:PATH, which hold the address (apprise's form, e.g. slack://…)")
    events: tuple[Kind, ...] = Field((), description="Only these; default: all")
    person: Name | None = Field(None, description="Whose target this is: gets approval links of their own")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:  # noqa: ANN401 - whatever YAML held
        return {"url": value} if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _reference(cls, value: str) -> str:
        kind, colon, rest = value.partition(":")
        if not colon or kind not in {"env", "file"} or not rest or rest.startswith("//"):
            message = "must say where the address is kept, because it holds a secret; allowed: env:NAME or file:PATH"
            raise ValueError(message)
        return value

    def wants(self, kind: str) -> bool:
        """Whether this target is told about such a thing."""
        return not self.events or kind in self.events
