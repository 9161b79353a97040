"""The ticket systems of tickets.yaml, with their secrets read where they are needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from upkeep.documents.reading import read_document
from upkeep.domain.ticket import TicketRef, parse_ref
from upkeep.domain.ticket_source import SecretAt, SignIn, TicketChange, TicketSource, TicketSources
from upkeep.errors import BadInput, Place, Refused
from upkeep.services.tickets.base import TicketSystem
from upkeep.services.tickets.generic import Generic
from upkeep.services.tickets.http import Credentials, JsonApi
from upkeep.services.tickets.jira import Jira
from upkeep.services.tickets.servicenow import ServiceNow


@dataclass(frozen=True)
class Asked:
    """The plan a ticket asks for: files on this controller."""

    name: str
    plan: Path
    inventory: Path
    settings: Mapping[str, str]


class Sources:
    """All ticket systems of this controller."""

    def __init__(self, document: TicketSources, folder: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.sources = document.sources
        self._folder, self._environ = folder, environ
        self._systems: dict[str, TicketSystem] = {}

    @classmethod
    def read(cls, file: Path, environ: Mapping[str, str] = os.environ) -> Sources | None:
        """The document's sources; None where there is no document.

        Raises:
            BadInput: with file, line and key.
        """
        return cls(read_document(file, TicketSources), file.absolute().parent, environ) if file.exists() else None

    def ref(self, text: str) -> TicketRef:
        """Which ticket is meant.

        Raises:
            BadInput: none of these systems' tickets, or not clear whose.
        """
        return parse_ref(text, {name: source.ids for name, source in self.sources.items()})

    def source(self, ref: TicketRef) -> TicketSource:
        """The document's part about a ticket's system."""
        return self.sources[ref.source]

    def system(self, name: str) -> TicketSystem:
        """The system to ask.

        Raises:
            BadInput: its secret cannot be read.
        """
        if name not in self._systems:
            self._systems[name] = self._made(name, self.sources[name])
        return self._systems[name]

    def secrets(self, name: str) -> list[str]:
        """The secrets that sign a source's webhooks; empty where none are taken.

        Raises:
            BadInput: one cannot be read.
        """
        webhook = self.sources[name].webhook
        return [self._secret(name, at).get_secret_value() for at in webhook.secrets] if webhook else []

    def asked(self, ref: TicketRef, name: str) -> Asked:
        """The plan that a ticket asks for by name.

        Raises:
            Refused: no such plan, or it names none where there are several.
        """
        changes = self.sources[ref.source].changes
        chosen = name or (next(iter(changes)) if len(changes) == 1 else "")
        if chosen not in changes:
            what = f"the plan '{chosen[:80]}', which is not one of its source's" if chosen else "no plan"
            raise Refused(f"ticket {ref} asks for {what}", remedy=f"name one of: {', '.join(sorted(changes))}")
        change: TicketChange = changes[chosen]
        return Asked(chosen, self._folder / change.plan, self._folder / change.inventory, change.settings)

    def every_secret(self) -> list[str]:
        """Every secret that can be read now, to be kept out of the history."""
        places: list[SecretAt | None] = []
        for source in self.sources.values():
            places += [
                source.sign_in.password,
                source.sign_in.token,
                *(source.webhook.secrets if source.webhook else ()),
            ]
        return [secret for at in places if at is not None and (secret := self._read(at))]

    def _made(self, name: str, source: TicketSource) -> TicketSystem:
        ca = str(self._folder / Path(source.ca).expanduser()) if source.ca else ""
        api = JsonApi(source.url, self._credentials(name, source.sign_in), ca)
        if source.kind == "servicenow":
            return ServiceNow(name, api, source.fields)
        return Jira(name, api, source.fields) if source.kind == "jira" else Generic(name, api)

    def _credentials(self, name: str, sign_in: SignIn) -> Credentials:
        return Credentials(
            sign_in.user,
            self._secret(name, sign_in.password) if sign_in.password else None,
            self._secret(name, sign_in.token) if sign_in.token else None,
        )

    def _secret(self, name: str, at: SecretAt) -> SecretStr:
        found = self._read(at)
        if not found or not found.isprintable():
            where = f"the environment variable {at.env}" if at.env else f"the file {self._folder / at.file}"
            raise BadInput(
                f"{where} holds no secret",
                place=Place("tickets.yaml", None, f"sources.{name}"),
                allowed="one line of printable characters",
                remedy=f"set {at.env}" if at.env else "write the secret there, mode 0600",
            )
        return SecretStr(found)

    def _read(self, at: SecretAt) -> str:
        if at.env:
            return self._environ.get(at.env, "").strip()
        try:
            return (self._folder / Path(at.file).expanduser()).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
