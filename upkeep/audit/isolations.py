"""Hosts out of service, in the history: who took them out, and which of them are Upkeep's to put back."""

from __future__ import annotations

from collections.abc import Collection

from sqlmodel import col, select

from upkeep.audit.history import History
from upkeep.audit.tables import EventRow
from upkeep.domain.isolation import Drained
from upkeep.domain.record import Event

DRAINING, DRAINED, NOT_DRAINED = "host.draining", "host.drained", "host.drain_failed"
RESTORING, RESTORED, NOT_RESTORED = "host.restoring", "host.restored", "host.restore_failed"
_BEGINS = frozenset({DRAINING, DRAINED})
_ENDS = frozenset({NOT_DRAINED, RESTORED})


def drained_by_upkeep(history: History, hosts: Collection[str]) -> dict[str, Drained]:
    """These hosts, as far as Upkeep took them out and has not put them back.

    A drain that was begun counts from its intent: its controller may have died after the hook did its work.
    """
    rows = select(EventRow.body).where(col(EventRow.action).in_([*_BEGINS, *_ENDS])).order_by(col(EventRow.seq))
    with history.reading() as session:
        bodies = session.exec(rows).all()
    found: dict[str, Drained] = {}
    for event in map(Event.model_validate_json, bodies):
        if event.action in _ENDS:
            found.pop(event.host, None)
        elif event.host in hosts:
            first = found.get(event.host, event)
            found[event.host] = Drained(
                event.host, event.run, event.actor.name, first.at, finished=event.action == DRAINED
            )
    return found
