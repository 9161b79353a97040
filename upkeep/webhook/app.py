"""The one web application: every module of this room that has a `router(site)` is part of it."""

from __future__ import annotations

import importlib
import pkgutil

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from starlette.requests import Request

import upkeep.webhook
from upkeep import __version__
from upkeep.errors import AuditError
from upkeep.webhook.security_headers import SecurityHeaders
from upkeep.wiring import Site

OPENAPI = "/webhooks/openapi.json"


def create_app(site: Site) -> FastAPI:
    """The application of one controller; routes that are pages keep themselves out of its OpenAPI document."""
    app = FastAPI(title="Upkeep", version=__version__, openapi_url=OPENAPI, docs_url=None, redoc_url=None)
    app.add_middleware(SecurityHeaders)
    app.include_router(_health(site))
    for module in pkgutil.iter_modules(upkeep.webhook.__path__):
        make = getattr(importlib.import_module(f"{upkeep.webhook.__name__}.{module.name}"), "router", None)
        if callable(make):
            app.include_router(make(site))
    app.add_exception_handler(AuditError, _history_unreadable)
    return app


def _health(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, str]:
        """Answers while the application runs and its history can be read."""
        site.history.runs(limit=1)
        return {"status": "ok", "version": __version__}

    return routes


def _history_unreadable(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": f"the history cannot be used now: {error}"}, status_code=503)
