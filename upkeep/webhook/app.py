"""The one web application: every module of this room that has a `router(site)` is part of it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from types import ModuleType

from fastapi import APIRouter, FastAPI
from fastapi.exception_handlers import http_exception_handler
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import upkeep.webhook
from upkeep import __version__
from upkeep.errors import AuditError
from upkeep.garbage import collect_seldom, keep_for_good
from upkeep.webhook.guessing import Guessing
from upkeep.webhook.rendering import environment, page
from upkeep.webhook.run_progress import rehearse
from upkeep.webhook.security_headers import SecurityHeaders
from upkeep.wiring import Site

OPENAPI = "/webhooks/openapi.json"


def create_app(site: Site) -> FastAPI:
    """The application of one controller; routes that are pages keep themselves out of its OpenAPI document."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        with suppress(AuditError):  # who asks while the database is away is told so then
            await run_in_threadpool(rehearse, site.history)
        collect_seldom()
        keep_for_good()
        yield

    app = FastAPI(
        title="Upkeep", version=__version__, openapi_url=OPENAPI, docs_url=None, redoc_url=None, lifespan=life
    )
    app.add_middleware(SecurityHeaders)
    app.include_router(_health(site))
    app.state.navigation = []
    app.state.guessing = Guessing()
    environment()
    for name in sorted(module.name for module in pkgutil.iter_modules(upkeep.webhook.__path__)):
        if name != "__main__":
            _take_up(app, importlib.import_module(f"{upkeep.webhook.__name__}.{name}"), site)
    app.add_exception_handler(AuditError, _history_unreadable)
    app.add_exception_handler(HTTPException, _refused)
    return app


def _take_up(app: FastAPI, module: ModuleType, site: Site) -> None:
    """Its routes, and its place in the navigation if it names one: `NAVIGATION = ("/address", "Name")`."""
    if callable(make := getattr(module, "router", None)):
        app.include_router(make(site))
    if entry := getattr(module, "NAVIGATION", None):
        app.state.navigation.append(entry)


def _health(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, str]:
        """Answers while the application runs and its history can be read."""
        site.history.last_seq()
        return {"status": "ok", "version": __version__}

    return routes


def _history_unreadable(request: Request, error: Exception) -> Response:
    detail = f"the history cannot be used now: {error}"
    if _is_read_by_a_person(request):
        return page(request, "problem.html.j2", status=503, title="Not now", detail=detail)
    return JSONResponse({"detail": detail}, status_code=503)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = error.headers or {}
    if "Location" in headers or not _is_read_by_a_person(request):
        return await http_exception_handler(request, error)
    title = HTTPStatus(error.status_code).phrase
    answer = page(request, "problem.html.j2", status=error.status_code, title=title, detail=error.detail)
    answer.headers.update(headers)
    return answer


def _is_read_by_a_person(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
