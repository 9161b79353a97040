"""Sending what lies in the outbox, by kind; each letter by one sender at a time and, where its target can be asked, once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from tasks.tell_tickets import MOVE, NOTE
from upkeep.audit.outbox import Letter
from upkeep.errors import BadInput, ServiceBusy, UpkeepError
from upkeep.services.tickets import TicketSystem
from upkeep.wiring import Site

log = logging.getLogger(__name__)

Send = Callable[[Site, Letter], None]


def send_outbox(site: Site, now: datetime | None = None, *, kinds: Collection[str] = (), target: str = "") -> int:
    """Send what is due, of these kinds (default: all that can be sent) and to this target (default: any); how many went."""
    known = [kind for kind in SENDERS if not kinds or kind in kinds]
    went, stuck = 0, set()
    for letter in site.outbox.due(now or datetime.now(UTC), kinds=known, target=target):
        if letter.target in stuck:
            site.outbox.release(letter.id)
        elif _sent(site, letter, now or datetime.now(UTC)):
            went += 1
        else:
            stuck.add(letter.target)
    return went


def _sent(site: Site, letter: Letter, now: datetime) -> bool:
    try:
        SENDERS[letter.kind](site, letter)
    except ServiceBusy as error:
        site.outbox.failed(letter.id, str(error), now, retry_after=error.retry_after)
    except UpkeepError as error:
        log.warning("%s to %s did not go: %s", letter.kind, letter.target, error)
        site.outbox.failed(letter.id, str(error), now, final=not error.retryable and not isinstance(error, BadInput))
    else:
        site.outbox.sent(letter.id, now)
        return True
    return False


def _note(site: Site, letter: Letter) -> None:
    """A sender may have died between sending and saying so: the ticket is asked for the note's mark first."""
    system, number = _ticket(site, letter)
    if not system.has_note(number, letter.body["marker"]):
        system.add_note(number, letter.body["text"])


def _move(site: Site, letter: Letter) -> None:
    system, number = _ticket(site, letter)
    system.move(number, letter.body["state"], letter.body["text"])


def _ticket(site: Site, letter: Letter) -> tuple[TicketSystem, str]:
    if site.tickets is None:
        raise BadInput("no ticket system is configured any more", remedy="write tickets.yaml again")
    ref = site.tickets.ref(letter.target)
    return site.tickets.system(ref.source), ref.id


SENDERS: dict[str, Send] = {NOTE: _note, MOVE: _move}
"""Kind to the function that sends one; other modules add theirs."""
