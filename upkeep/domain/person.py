"""People and what they may do; identity is ours, because Prefect's open-source server has no users."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AwareDatetime, BeforeValidator

from upkeep.domain.document import Document, Name

Duty = Literal["viewer", "operator", "approver", "admin", "on-call", "tech lead", "sre"]
ROLES: tuple[str, ...] = get_args(Duty)


def _spelled(value: Any) -> Any:  # noqa: ANN401 - whatever YAML or a command line held
    """`Tech-Lead` and `tech_lead` are the tech lead; what is no role stays as it was, for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    plain = value.strip().lower().replace("_", " ")
    return next((role for role in ROLES if role.replace("-", " ") == plain.replace("-", " ")), value)


Role = Annotated[Duty, BeforeValidator(_spelled)]


class Person(Document):
    """Somebody who may sign in; `logins` are further names under which this person asks for runs."""

    name: Name
    roles: tuple[Role, ...]
    logins: tuple[Name, ...] = ()
    added_at: AwareDatetime
    revoked_at: AwareDatetime | None = None

    def has(self, *roles: str) -> bool:
        """Whether the person has any of these roles."""
        return bool(set(roles) & set(self.roles))

    def is_called(self, name: str) -> bool:
        """Whether `name` is one of this person's names, in any case."""
        return name.casefold() in {self.name.casefold(), *(login.casefold() for login in self.logins)}
