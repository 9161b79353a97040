"""The desk's tickets, kept in one file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from upkeep.errors import BadInput

Changed = Callable[["DeskTicket"], None]


class DeskTicket(BaseModel):
    """One ticket; `state` in the words of the product that the desk plays."""

    model_config = ConfigDict(extra="forbid")

    id: str
    key: str
    title: str = ""
    state: str
    approval: str = "requested"
    on_hold: bool = False
    on_hold_reason: str = ""
    planned_start: AwareDatetime | None = None
    planned_end: AwareDatetime | None = None
    items: list[str] = Field(default_factory=list)
    plan: str = ""
    requester: str = "Mia Change"
    notes: list[str] = Field(default_factory=list)
    close_code: str = ""


class Store:
    """Reads and writes tickets; every change is on disk before anybody hears of it. Safe for many threads."""

    def __init__(self, file: Path, prefix: str) -> None:
        self._file, self._prefix = file, prefix
        self._lock = threading.RLock()
        self.changed: list[Changed] = []
        held = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        self._tickets = {number: DeskTicket.model_validate(facts) for number, facts in held.items()}

    def add(self, **facts: Any) -> DeskTicket:  # noqa: ANN401 - a ticket's facts
        """A new ticket with the next number."""
        with self._lock:
            number = f"{self._prefix}{len(self._tickets) + 1:05d}"
            ticket = DeskTicket.model_validate({"id": number, "key": f"{len(self._tickets) + 1:032x}", **facts})
            self._tickets[number] = ticket
            self._write()
        self._tell(ticket)
        return ticket

    def get(self, number: str) -> DeskTicket | None:
        """One ticket by number or key."""
        with self._lock:
            found = self._tickets.get(number) or next((t for t in self._tickets.values() if t.key == number), None)
            return found.model_copy(deep=True) if found else None

    def change(self, number: str, **facts: Any) -> DeskTicket:  # noqa: ANN401 - a ticket's facts
        """Change a ticket; whoever listens hears of everything but notes.

        Raises:
            BadInput: no such ticket, or a fact that it cannot have.
        """
        with self._lock:
            before = self.get(number)
            if before is None:
                raise BadInput(f"the desk has no ticket {number}")
            try:
                after = DeskTicket.model_validate(before.model_dump() | facts)
            except ValueError as error:
                raise BadInput(f"ticket {number} cannot be changed: {error}") from error
            self._tickets[after.id] = after
            self._write()
        if set(facts) - {"notes"}:
            self._tell(after)
        return after

    def note(self, number: str, text: str) -> None:
        """Add a note."""
        with self._lock:
            ticket = self.get(number)
            if ticket is not None:
                self.change(number, notes=[*ticket.notes, text])

    def all(self) -> list[DeskTicket]:
        """Every ticket, oldest first."""
        with self._lock:
            return [ticket.model_copy(deep=True) for ticket in self._tickets.values()]

    def _tell(self, ticket: DeskTicket) -> None:
        for listener in list(self.changed):
            listener(ticket.model_copy(deep=True))

    def _write(self) -> None:
        held = {number: ticket.model_dump(mode="json") for number, ticket in self._tickets.items()}
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(held), encoding="utf-8")
        fresh.replace(self._file)
