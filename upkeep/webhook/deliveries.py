"""POST /webhooks/{source}: what a ticket system sends is checked, kept and answered; judging comes later, elsewhere."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from upkeep.domain.ticket import TicketRef
from upkeep.errors import AuditError, BadInput, Refused
from upkeep.services.tickets import Sources
from upkeep.webhook.access import Access
from upkeep.webhook.refused_deliveries import RefusedDeliveries
from upkeep.webhook.signatures import Senders, Signed, check
from upkeep.wiring import Site

MOST_BYTES = 1024**2
_NAMES_OF_TICKETS = (("ticket",), ("number",), ("issue", "key"), ("id",), ("data", "ticket"), ("data", "id"))
log = logging.getLogger(__name__)


class Kept(BaseModel):
    """The delivery is kept; the ticket is asked next."""

    ticket: str
    duplicate: bool = False


class Why(BaseModel):
    """Why a delivery was not kept, and what to do."""

    problem: str
    remedy: str = ""


class Problem(BaseModel):
    """The body of every answer that is not good."""

    detail: Why


def _not_kept(status: int, problem: str, remedy: str = "") -> HTTPException:
    return HTTPException(status, Why(problem=problem, remedy=remedy).model_dump())


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Kept, "description": "It came before"},
    202: {"model": Kept, "description": "Kept; the ticket is asked next"},
    400: {"model": Problem, "description": "Signed, and names no ticket that can be read"},
    401: {"model": Problem, "description": "Not signed by this source"},
    404: {"model": Problem, "description": "No such source"},
    408: {"model": Problem, "description": "The body ended early"},
    413: {"model": Problem, "description": "Larger than 1 MiB"},
    503: {"model": Problem, "description": "It cannot be kept now; send it again"},
}


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "Signed as its source signs; only the ticket's number is used, here or where the product has it",
        "content": {
            "application/json": {"schema": {"type": "object", "properties": {"ticket": {"type": "string"}}}},
        },
    }
}


def router(site: Site) -> APIRouter:
    """The route of every source in tickets.yaml."""
    routes, access, refused = APIRouter(), Access(site), RefusedDeliveries(site)

    @routes.post(
        "/webhooks/{source}",
        response_model=Kept,
        status_code=202,
        responses=_ANSWERS,
        tags=["tickets"],
        openapi_extra=_BODY,
    )
    async def deliver(
        request: Request, source: Annotated[str, Path(max_length=128, description="A source of tickets.yaml")]
    ) -> JSONResponse:
        """Take in one delivery: raw body checked first, kept durably, then answered. Nothing in it but the ticket's number is used."""
        try:
            body = await _body(request)
            kept = await run_in_threadpool(_take, site, source, dict(request.headers), body)
        except HTTPException as answer:
            log.warning("a delivery for source %r was not kept: %s %s", source[:64], answer.status_code, answer.detail)
            why = str(answer.detail["problem"] if isinstance(answer.detail, dict) else answer.detail)
            await run_in_threadpool(refused.note, source, answer.status_code, why, access.address_of(request))
            raise
        return JSONResponse(kept.model_dump(), status_code=200 if kept.duplicate else 202)

    return routes


async def _body(request: Request) -> bytes:
    """At most `MOST_BYTES`, counted while they come: what a header promises is not believed."""
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BYTES:
                raise _not_kept(413, f"the body is larger than {MOST_BYTES} bytes", "send only the ticket's number")
    except (OSError, ClientDisconnect) as error:
        raise _not_kept(408, "the connection ended before the body did", "send it again") from error
    return bytes(body)


def _take(site: Site, name: str, headers: dict[str, str], body: bytes) -> Kept:
    sources = _sources(site)
    source = sources.sources.get(name)
    if source is None or source.webhook is None:
        raise _not_kept(404, "there is no such source, or it takes no webhooks", "name a source of tickets.yaml")
    now = datetime.now(UTC)
    signed = _signed(sources, name, headers, body, now)
    ref = _ref(sources, name, body)
    try:
        new = site.deliveries.keep(ref, signed.id, hashlib.sha256(body).hexdigest(), now)
    except AuditError as error:
        log.exception("a delivery could not be kept")
        raise _not_kept(503, "it cannot be kept now", "send it again") from error
    return Kept(ticket=str(ref), duplicate=not new)


def _sources(site: Site) -> Sources:
    try:
        sources = site.tickets
    except (AuditError, BadInput) as error:
        log.exception("tickets.yaml cannot be used")
        raise _not_kept(503, "this controller's tickets.yaml cannot be used", "its log says why") from error
    if sources is None:
        raise _not_kept(404, "no ticket system is configured", "write tickets.yaml; docs/tickets.md")
    return sources


def _signed(sources: Sources, name: str, headers: dict[str, str], body: bytes, now: datetime) -> Signed:
    source = sources.sources[name]
    tolerance = source.webhook.tolerance if source.webhook else timedelta(0)
    try:
        return check(Senders(source.scheme, tuple(sources.secrets(name)), tolerance), headers, body, now)
    except Refused as unsigned:
        raise _not_kept(401, unsigned.reason, f"sign with the secret of source {name}; docs/tickets.md") from unsigned
    except BadInput as error:
        log.exception("the secret of source %s cannot be read", name)
        raise _not_kept(503, "this source's secret cannot be read here", "the controller's log says why") from error


def _ref(sources: Sources, name: str, body: bytes) -> TicketRef:
    remedy = 'send {"ticket": "NUMBER"}'
    try:
        told = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise _not_kept(400, "the body is not JSON in UTF-8", remedy) from error
    numbers = list(_numbers(told))
    if not numbers:
        raise _not_kept(400, "the body names no ticket", remedy)
    try:
        return sources.ref(f"{name}/{numbers[0]}")
    except BadInput as error:
        raise _not_kept(400, error.problem, remedy) from error


def _numbers(told: object) -> Iterator[str]:
    """Where the products have the number: ours, ServiceNow's, Jira's."""
    for path in _NAMES_OF_TICKETS:
        value = told
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value:
            yield value
