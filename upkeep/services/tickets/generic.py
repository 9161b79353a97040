"""Any other ticket system, through a small protocol that a bridge of some fifty lines speaks (docs/tickets.md)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from upkeep.domain.ticket import Ticket, TicketRef
from upkeep.errors import ServiceError
from upkeep.services.tickets.http import JsonApi

_PAGE = 50
_MOST_PAGES = 200


class _Told(BaseModel):
    """GET /tickets/ID."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    id: str
    title: str = ""
    state: str
    approved: bool | None = None
    on_hold: bool = False
    on_hold_reason: str = ""
    planned_start: AwareDatetime | None = None
    planned_end: AwareDatetime | None = None
    items: tuple[str, ...] = ()
    plan: str = ""
    requester: str = ""
    url: str = ""


class Generic:
    """Asks one system that speaks the protocol."""

    def __init__(self, source: str, api: JsonApi) -> None:
        self._source, self._api = source, api

    def ticket(self, number: str) -> Ticket | None:
        """GET /tickets/ID."""
        answer = self._api.get(f"/tickets/{quote(number, safe='')}")
        if answer is None:
            return None
        try:
            told = _Told.model_validate(answer.data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            key = ".".join(map(str, first["loc"])) or "the answer"
            raise ServiceError(f"ticket {number}: not as agreed: {key}: {first['msg'].lower()}") from error
        if told.id != number:
            raise ServiceError(f"asked for ticket {number} and got {told.id[:64]}")
        said = {None: "", True: "approved", False: "not approved"}[told.approved]
        facts = told.model_dump(exclude={"id", "items"})
        return Ticket(ref=TicketRef(source=self._source, id=number), cis=told.items, approval=said, **facts)

    def has_note(self, number: str, marker: str) -> bool:
        """GET /tickets/ID/notes?page=N, newest first, until an empty page."""
        for page in range(1, _MOST_PAGES + 1):
            answer = self._api.get(f"/tickets/{quote(number, safe='')}/notes", {"page": str(page), "size": str(_PAGE)})
            notes: Any = answer.data.get("notes") if answer is not None and isinstance(answer.data, dict) else None
            if not isinstance(notes, list):
                raise ServiceError(f"ticket {number}: not as agreed: no list 'notes'")
            if any(marker in str(note) for note in notes):
                return True
            if not notes:
                return False
        raise ServiceError(f"ticket {number}: more than {_PAGE * _MOST_PAGES} notes")

    def add_note(self, number: str, text: str) -> None:
        """POST /tickets/ID/notes."""
        self._api.send("POST", f"/tickets/{quote(number, safe='')}/notes", {"text": text})

    def move(self, number: str, state: str, note: str) -> None:
        """PUT /tickets/ID/state, which is the same when it is done twice."""
        self._api.send("PUT", f"/tickets/{quote(number, safe='')}/state", {"state": state, "note": note})
