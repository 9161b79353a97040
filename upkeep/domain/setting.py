"""Settings of an agent: one configuration value and where it may come from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from upkeep.domain.document import Document

Source = Literal["environment", "file", "remote"]


def _one_line(value: str) -> str:
    if any(not character.isprintable() for character in value):
        message = "holds a line break or another control character; allowed: one line of text"
        raise ValueError(message)
    return value


Text = Annotated[str, AfterValidator(_one_line)]
SettingName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Setting(Document):
    """One configuration value and where it may come from; the first source of `order` that names it wins, then the default."""

    file: Text = Field("", description="File on the host")
    drop_ins: Text = Field(
        "", description="More files that win over it, e.g. /etc/mcp/agent.d/*.yaml; the last one wins"
    )
    pattern: Text = Field(
        min_length=1,
        description="Extended regular expression (awk's): the line that names it; its value is what follows the first : or =",
    )
    env: Text = Field("", description="Variable of the agent's environment")
    remote: Text = Field(
        "", description="URL the host gets the value from, e.g. its control centre's settings, one a line or JSON"
    )
    default: Text = Field("", description="What the agent takes where nobody says anything")
    expect: Source | Literal[""] = Field("", description="The source that is meant to win; empty: any")
    order: tuple[Source, ...] = Field(
        ("environment", "remote", "file"), min_length=1, description="Which source wins, the strongest first"
    )

    @model_validator(mode="after")
    def _a_source_is_named(self) -> Self:
        if not (self.file or self.drop_ins or self.env or self.remote):
            message = "names no source; allowed: file, drop_ins, env, remote, or several"
            raise ValueError(message)
        return self

    def words(self, name: str) -> tuple[str, ...]:
        """What the look at settings takes for one setting."""
        sources = (self.file, self.drop_ins, self.pattern, self.env, self.default)
        return (name, *sources, self.expect, self.remote, " ".join(self.order))
