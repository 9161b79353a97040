"""tickets.yaml: which ticket systems there are, how to reach them, and which plan a ticket may ask for."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator, model_validator

from upkeep.domain.document import Document, Duration, Name
from upkeep.domain.ticket import TicketRules

Kind = Literal["servicenow", "jira", "generic"]
Scheme = Literal["standard", "hub", "token"]


class SecretAt(Document):
    """Where a secret is, never the secret: an environment variable or a file whose content it is."""

    env: str = ""
    file: str = Field("", description="Relative to tickets.yaml")

    @model_validator(mode="after")
    def _one_place(self) -> SecretAt:
        if bool(self.env) == bool(self.file):
            message = "give exactly one of env, file"
            raise ValueError(message)
        return self


class Webhook(Document):
    """How this source signs what it sends."""

    secrets: tuple[SecretAt, ...] = Field(min_length=1, description="Any of them; two while a secret is being changed")
    scheme: Scheme | None = Field(
        None,
        description="standard: Standard Webhooks; hub: X-Hub-Signature (Jira's own webhooks); token: X-Upkeep-Token "
        "(Jira Automation, which cannot sign). Default: hub for jira, else standard",
    )
    tolerance: Duration = Field(timedelta(minutes=5), description="How old a signed time may be (standard)")


class SignIn(Document):
    """Who we are at the ticket system: user and password (or API token), or a bearer token."""

    user: str = ""
    password: SecretAt | None = None
    token: SecretAt | None = None

    @model_validator(mode="after")
    def _one_way(self) -> SignIn:
        if (self.password is None) == (self.token is None) or bool(self.user) != (self.password is not None):
            message = "give user and password, or token"
            raise ValueError(message)
        return self


class Fields(Document):
    """Which fields of a ticket hold what; for Jira by the name people see, default as the products ship them."""

    plan: str = Field("", description="Default: u_upkeep_plan (ServiceNow), 'Upkeep plan' (Jira)")
    cis: str = Field("", description="Jira only: default 'Affected hosts'")
    planned_start: str = Field("", description="Default: start_date (ServiceNow), 'Planned start' (Jira)")
    planned_end: str = Field("", description="Default: end_date (ServiceNow), 'Planned end' (Jira)")


class TicketChange(Document):
    """What a ticket may ask for, by a name of its own: files are named here and never in a ticket."""

    plan: str = Field(description="Plan file, relative to tickets.yaml")
    inventory: str = Field(description="Inventory file, relative to tickets.yaml")
    settings: dict[str, str] = Field(default_factory=dict, description="Plan keys to override, as with --set")


class Closing(Document):
    """Which state the ticket is moved to when its run is over; empty: it stays where it is."""

    succeeded: str = Field("", description="State value (ServiceNow), transition's name (Jira), state (generic)")
    otherwise: str = ""


class TicketSource(Document):
    """One ticket system."""

    kind: Kind
    url: str
    ca: str = Field("", description="CA file, relative to tickets.yaml; default: the system's")
    sign_in: SignIn
    webhook: Webhook | None = None
    ids: str = Field("", description="Regular expression of its tickets' numbers, e.g. CHG[0-9]+")
    rules: TicketRules = Field(default_factory=TicketRules)
    fields: Fields = Field(default_factory=Fields)
    changes: dict[Name, TicketChange] = Field(
        min_length=1, description="Plans that tickets may ask for, by name; the only one needs no field in the ticket"
    )
    closing: Closing = Field(default_factory=Closing)

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        if not re.match(r"https?://[^/\s]+", value):
            message = "is not an address; write https://HOST"
            raise ValueError(message)
        return value.rstrip("/")

    @field_validator("ids")
    @classmethod
    def _pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            message = f"is not a regular expression: {error}"
            raise ValueError(message) from error
        return value

    @property
    def scheme(self) -> Scheme:
        """How its webhooks prove who sent them."""
        chosen = self.webhook.scheme if self.webhook else None
        return chosen or ("hub" if self.kind == "jira" else "standard")


class TicketSources(Document):
    """The document."""

    sources: dict[Name, TicketSource] = Field(min_length=1)
