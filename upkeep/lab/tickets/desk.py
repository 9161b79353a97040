"""The desk's web side: one product's API behind sign-in and a rate limit, and what people do with tickets."""

from __future__ import annotations

import base64
import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from upkeep.domain.ticket_source import Kind
from upkeep.errors import BadInput
from upkeep.lab.tickets import generic, jira, servicenow
from upkeep.lab.tickets.store import DeskTicket, Store

PREFIXES: dict[Kind, str] = {"servicenow": "CHG00", "jira": "CHANGE-", "generic": "T"}
READY: dict[Kind, str] = {"servicenow": "-2", "jira": "Awaiting implementation", "generic": "scheduled"}
IMPLEMENT: dict[Kind, str] = {"servicenow": "-1", "jira": "Implementing", "generic": "implement"}
CANCELLED: dict[Kind, str] = {"servicenow": "4", "jira": "Canceled", "generic": "cancelled"}
_LOGIN = "<!DOCTYPE html><html><head><title>Log in</title></head><body><form>user, password</form></body></html>"
_ROUTES = {"servicenow": servicenow.routes, "jira": jira.routes, "generic": generic.routes}

Next = Callable[[Request], Awaitable[Response]]


@dataclass
class Temper:
    """How the desk behaves: questions a second, and trouble to make for so many questions (`html`, `500`, `429`, `slow`)."""

    per_second: int = 200
    trouble: str = ""
    times: int = 0
    asked: deque[float] = field(default_factory=deque)

    def answer(self) -> Response | None:
        """A bad answer, or None for the real one."""
        now = time.monotonic()
        while self.asked and self.asked[0] < now - 1:
            self.asked.popleft()
        self.asked.append(now)
        if len(self.asked) > self.per_second:
            return JSONResponse({"error": "rate limit"}, 429, {"Retry-After": "1"})
        if self.trouble and self.times > 0:
            self.times -= 1
            return {
                "html": HTMLResponse(_LOGIN),
                "500": JSONResponse({"error": "out of order"}, 500),
                "429": JSONResponse({"error": "rate limit"}, 429, {"Retry-After": "1"}),
            }[self.trouble]
        return None


def desk_app(store: Store, kind: Kind, user: str, password: str, temper: Temper | None = None) -> FastAPI:
    """The whole desk; everybody signs in with the same user and password (or the password as a bearer token)."""
    app = FastAPI(title=f"Upkeep lab tickets ({kind})", docs_url=None, redoc_url=None, openapi_url=None)
    temper = temper or Temper()

    @app.middleware("http")
    async def guard(request: Request, following: Next) -> Response:
        if not _signed_in(request.headers.get("authorization", ""), user, password):
            return JSONResponse({"error": "who are you?"}, 401)
        bad = None if request.url.path.startswith("/desk/") else temper.answer()
        return bad or await following(request)

    app.include_router(_ROUTES[kind](store))
    app.include_router(_people(store, kind, temper))
    return app


def _people(store: Store, kind: Kind, temper: Temper) -> APIRouter:
    """What people do in the product's own pages."""
    desk = APIRouter(prefix="/desk")

    @desk.get("/tickets")
    def listed() -> list[DeskTicket]:
        return store.all()

    @desk.post("/tickets", status_code=201)
    def opened(facts: dict[str, Any]) -> DeskTicket:
        return _made(lambda: store.add(**{"state": READY[kind], **facts}))

    @desk.patch("/tickets/{number}")
    def changed(number: str, facts: dict[str, Any]) -> DeskTicket:
        return _made(lambda: store.change(number, **facts))

    @desk.put("/temper")
    def tempered(wanted: dict[str, Any]) -> dict[str, str]:
        temper.trouble, temper.times = str(wanted.get("trouble", "")), int(wanted.get("times", 0))
        temper.per_second = int(wanted.get("per_second", temper.per_second))
        return {}

    return desk


def _made(make: Callable[[], DeskTicket]) -> DeskTicket:
    try:
        return make()
    except (BadInput, ValueError) as error:
        raise HTTPException(422, str(error)) from error


def _signed_in(header: str, user: str, password: str) -> bool:
    basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return any(hmac.compare_digest(header.encode(), one.encode()) for one in (basic, f"Bearer {password}"))
