"""What every ticket system can be asked."""

from __future__ import annotations

from typing import Protocol

from upkeep.domain.ticket import Ticket


class TicketSystem(Protocol):
    """One ticket system.

    Every method raises ServiceError when the system does not answer or not as agreed, ServiceBusy when it asks for time,
    ServiceRefused when asking again does not help.
    """

    def ticket(self, number: str) -> Ticket | None:
        """The ticket as it is now; None when there is no such ticket."""

    def has_note(self, number: str, marker: str) -> bool:
        """Whether a note with this text in it is there already."""

    def add_note(self, number: str, text: str) -> None:
        """Write a note that the people who work on the ticket see."""

    def move(self, number: str, state: str, note: str) -> None:
        """Move it to a state; nothing when it is there already. `note` goes along where closing asks for one."""
