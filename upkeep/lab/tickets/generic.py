"""The desk in the small protocol of docs/tickets.md."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel

from upkeep.lab.tickets.store import DeskTicket, Store

MOST_NOTES = 5


class Note(BaseModel):
    """A note to add."""

    text: str


class Move(BaseModel):
    """A state to move to."""

    state: str
    note: str = ""


def routes(store: Store) -> APIRouter:
    """The protocol."""
    api = APIRouter()

    @api.get("/tickets/{number}")
    def ticket(number: str) -> dict[str, Any]:
        held = _known(store, number)
        told = held.model_dump(mode="json", exclude={"key", "notes", "approval", "close_code"})
        return told | {"approved": held.approval == "approved"}

    @api.get("/tickets/{number}/notes")
    def notes(number: str, page: Annotated[int, Query(ge=1)] = 1) -> dict[str, Any]:
        newest = list(reversed(_known(store, number).notes))
        return {"notes": newest[(page - 1) * MOST_NOTES : page * MOST_NOTES]}

    @api.post("/tickets/{number}/notes", status_code=201)
    def note(number: str, said: Note) -> dict[str, str]:
        store.note(_known(store, number).id, said.text)
        return {}

    @api.put("/tickets/{number}/state")
    def move(number: str, to: Move) -> dict[str, str]:
        if _known(store, number).state != to.state:
            store.change(number, state=to.state)
        return {}

    return api


def _known(store: Store, number: str) -> DeskTicket:
    ticket = store.get(number)
    if ticket is None or ticket.id != number:
        raise HTTPException(404, "no such ticket")
    return ticket
