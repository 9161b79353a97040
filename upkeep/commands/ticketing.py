"""`upkeep tickets`: what ticket systems sent, what became of it, and what waits to be told."""

from __future__ import annotations

import json
import sys

from rich.table import Table

from upkeep.console.screen import screen
from upkeep.errors import BadInput
from upkeep.wiring import site


def list_tickets(number: str, *, as_json: bool) -> None:
    """Deliveries, newest first, and letters that did not go yet.

    Raises:
        BadInput: the number is none of a configured source's tickets.
    """
    here = site()
    if number and here.tickets is None:
        raise BadInput("no ticket system is configured", remedy="write tickets.yaml; docs/tickets.md")
    ref = here.tickets.ref(number) if number and here.tickets else None
    deliveries = here.deliveries.all(ref, newest=200)
    unsent = [one for one in here.outbox.all(unsent=True) if one.kind.startswith("ticket.")]
    unsent = [one for one in unsent if ref is None or one.target == str(ref)]
    if as_json:
        told = [
            {"ticket": str(one.ref), "received_at": one.received_at.isoformat(), "fate": one.fate, "reason": one.reason}
            for one in deliveries
        ]
        waiting = [{"ticket": one.target, "attempts": one.attempts, "last_error": one.last_error} for one in unsent]
        sys.stdout.write(json.dumps({"deliveries": told, "unsent": waiting}, indent=2) + "\n")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("received (UTC)", "ticket", "what became of it", "why"):
        table.add_column(column)
    for one in deliveries:
        table.add_row(f"{one.received_at:%Y-%m-%d %H:%M:%S}", str(one.ref), one.fate.value, one.reason)
    screen().print(table if deliveries else "no ticket system has sent anything")
    for letter in unsent:
        gone = "given up" if letter.given_up_at else f"waits, {letter.attempts} attempts"
        screen().print(f"a note to {letter.target} {gone}: {letter.last_error}", soft_wrap=True)
