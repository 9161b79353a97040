"""The desk as a Jira Service Management site: custom fields with ids of their own, approvals, comments in pages, transitions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from upkeep.lab.tickets.store import DeskTicket, Store

FIELDS = {
    "customfield_10101": "Planned start",
    "customfield_10102": "Planned end",
    "customfield_10103": "Affected hosts",
    "customfield_10104": "Upkeep plan",
}
_DECISIONS = {"approved": "approved", "rejected": "declined"}
_MOVES = {"Implementing": {"11": ("Complete", "Completed"), "12": ("Fail", "Failed"), "13": ("Cancel", "Canceled")}}
MOST_COMMENTS = 5

Most = Annotated[int, Query(alias="maxResults")]
From = Annotated[int, Query(alias="startAt")]


def routes(store: Store) -> APIRouter:
    """The REST API, version 2, and the service desk's approvals."""
    api = APIRouter()
    _add_issues(api, store)
    _add_comments(api, store)
    _add_moves(api, store)
    return api


def _add_issues(api: APIRouter, store: Store) -> None:
    @api.get("/rest/api/2/field")
    def fields() -> list[dict[str, Any]]:
        standard = [{"id": "summary", "name": "Summary"}, {"id": "status", "name": "Status"}]
        return standard + [{"id": key, "name": name} for key, name in FIELDS.items()]

    @api.get("/rest/api/2/issue/{number}")
    def issue(number: str) -> dict[str, Any]:
        return _issue(_known(store, number))

    @api.get("/rest/servicedeskapi/request/{number}/approval")
    def approvals(number: str) -> dict[str, Any]:
        ticket = _known(store, number)
        decision = _DECISIONS.get(ticket.approval, "pending")
        values = [] if ticket.approval == "not requested" else [{"id": "1", "finalDecision": decision}]
        return {"size": len(values), "isLastPage": True, "values": values}


def _add_comments(api: APIRouter, store: Store) -> None:
    @api.get("/rest/api/2/issue/{number}/comment")
    def comments(number: str, most: Most = MOST_COMMENTS, start: From = 0) -> dict[str, Any]:
        notes = list(reversed(_known(store, number).notes))
        page = notes[start : start + min(most, MOST_COMMENTS)]
        return {"startAt": start, "total": len(notes), "comments": [{"body": note} for note in page]}

    @api.post("/rest/api/2/issue/{number}/comment", status_code=201)
    def comment(number: str, said: dict[str, Any]) -> dict[str, Any]:
        internal = [p for p in said.get("properties", []) if p.get("key") == "sd.public.comment"]
        if not internal or not internal[0]["value"]["internal"]:
            raise HTTPException(400, "this desk wants internal comments from machines")
        store.note(_known(store, number).id, str(said["body"]))
        return {"body": said["body"]}


def _add_moves(api: APIRouter, store: Store) -> None:
    @api.get("/rest/api/2/issue/{number}/transitions")
    def moves(number: str) -> dict[str, Any]:
        offered = _MOVES.get(_known(store, number).state, {})
        return {"transitions": [{"id": i, "name": name, "to": {"name": to}} for i, (name, to) in offered.items()]}

    @api.post("/rest/api/2/issue/{number}/transitions", status_code=204)
    def move(number: str, wanted: dict[str, dict[str, str]]) -> None:
        offered = _MOVES.get(_known(store, number).state, {})
        chosen = offered.get(wanted["transition"]["id"])
        if chosen is None:
            raise HTTPException(400, "this transition is not offered now")
        store.change(number, state=chosen[1])


def _issue(ticket: DeskTicket) -> dict[str, Any]:
    times = [
        at.strftime("%Y-%m-%dT%H:%M:%S.000%z") if at else None for at in (ticket.planned_start, ticket.planned_end)
    ]
    start, end, hosts, plan = FIELDS
    fields = {
        "summary": ticket.title,
        "status": {"name": ticket.state},
        "reporter": {"displayName": ticket.requester},
        start: times[0],
        end: times[1],
        hosts: ticket.items,
        plan: {"value": ticket.plan} if ticket.plan else None,
    }
    return {"id": str(int(ticket.key, 16)), "key": ticket.id, "fields": fields}


def _known(store: Store, number: str) -> DeskTicket:
    ticket = store.get(number)
    if ticket is None or ticket.id != number:
        raise HTTPException(404, "Issue does not exist or you do not have permission to see it.")
    return ticket
