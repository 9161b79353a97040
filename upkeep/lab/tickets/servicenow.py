"""The desk as a ServiceNow instance: the tables Upkeep reads, display values in the user's zone, the normal change model."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response

from upkeep.lab.tickets.store import DeskTicket, Store

STATES = {"-5": "New", "-4": "Assess", "-3": "Authorize", "-2": "Scheduled", "-1": "Implement", "0": "Review"}
STATES |= {"3": "Closed", "4": "Canceled"}
_SHOWN_IN = timezone(timedelta(hours=-8))
_NEXT = {"-5": {"-4", "4"}, "-4": {"-3", "4"}, "-3": {"-2", "4"}, "-2": {"-1", "4"}, "-1": {"0", "4"}, "0": {"3", "4"}}
MOST_ROWS = 10

Limit = Annotated[int, Query(alias="sysparm_limit")]
Offset = Annotated[int, Query(alias="sysparm_offset")]
Asked = Annotated[str, Query(alias="sysparm_query")]


def routes(store: Store) -> APIRouter:
    """The Table API."""
    api = APIRouter(prefix="/api/now/table")

    @api.get("/change_request")
    def changes(query: Asked = "") -> dict[str, Any]:
        wanted = dict(part.split("=", 1) for part in query.split("^") if "=" in part).get("number", "")
        ticket = store.get(wanted) if wanted else None
        return {"result": [_row(ticket)] if ticket and ticket.id == wanted else []}

    @api.patch("/change_request/{key}")
    def change(key: str, facts: dict[str, str]) -> dict[str, Any]:
        ticket = store.get(key)
        if ticket is None or ticket.key != key:
            raise HTTPException(404, "No Record found")
        if note := facts.pop("work_notes", ""):
            store.note(ticket.id, note)
        state = facts.get("state", ticket.state)
        if state != ticket.state:
            _check_move(ticket, state, facts)
            store.change(ticket.id, state=state, close_code=facts.get("close_code", ""))
        return {"result": _row(store.get(ticket.id) or ticket)}

    @api.get("/task_ci")
    def items(response: Response, query: Asked = "", limit: Limit = MOST_ROWS, offset: Offset = 0) -> dict[str, Any]:
        ticket = store.get(_part(query, r"task=([0-9a-f]+)"))
        names = ticket.items if ticket else []
        response.headers["X-Total-Count"] = str(len(names))
        page = names[offset : offset + min(limit, MOST_ROWS)]
        return {"result": [{"ci_item.name": name} for name in page]}

    @api.get("/sys_journal_field")
    def journal(query: Asked = "") -> dict[str, Any]:
        ticket = store.get(_part(query, r"element_id=([0-9a-f]+)"))
        like = _part(query, r"valueLIKE([^^]*)")
        notes = ticket.notes if ticket else []
        return {"result": [{"value": note} for note in reversed(notes) if like in note][:MOST_ROWS]}

    return api


def _check_move(ticket: DeskTicket, state: str, facts: dict[str, str]) -> None:
    if state not in _NEXT.get(ticket.state, set()):
        raise HTTPException(403, f"change from {STATES.get(ticket.state)} to {STATES.get(state)} is not allowed")
    if state == "3" and not (facts.get("close_code") and facts.get("close_notes")):
        raise HTTPException(403, "Data Policy: close code and close notes are mandatory")


def _row(ticket: DeskTicket) -> dict[str, Any]:
    plain = {
        "number": ticket.id,
        "sys_id": ticket.key,
        "short_description": ticket.title,
        "approval": ticket.approval,
        "on_hold": str(ticket.on_hold).lower(),
        "on_hold_reason": ticket.on_hold_reason,
        "u_upkeep_plan": ticket.plan,
    }
    row: dict[str, Any] = {name: {"value": value, "display_value": value} for name, value in plain.items()}
    row["state"] = {"value": ticket.state, "display_value": STATES.get(ticket.state, ticket.state)}
    row["requested_by"] = {"value": "5137153cc611227c000bbd1bd8cd2005", "display_value": ticket.requester}
    row["cmdb_ci"] = {"value": "", "display_value": ticket.items[0] if ticket.items else ""}
    for name, at in (("start_date", ticket.planned_start), ("end_date", ticket.planned_end)):
        row[name] = {"value": _time(at, UTC), "display_value": _time(at, _SHOWN_IN)}
    return row


def _time(at: datetime | None, zone: timezone) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}" if at else ""


def _part(query: str, pattern: str) -> str:
    found = re.search(pattern, query)
    return found[1] if found else ""
