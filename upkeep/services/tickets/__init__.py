"""Ticket systems over HTTP: ServiceNow, Jira Service Management, and a small protocol for all others."""

from upkeep.services.tickets.base import TicketSystem
from upkeep.services.tickets.sources import Sources

__all__ = ["Sources", "TicketSystem"]
