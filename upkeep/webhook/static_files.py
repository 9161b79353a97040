"""The pages' own style, script and icon, served from here and from nowhere else."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources

from fastapi import APIRouter, HTTPException
from starlette.responses import Response

from upkeep.wiring import Site

KINDS = {
    "pages.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def router(_site: Site) -> APIRouter:
    """The files; their address changes with their content, so a browser may keep them."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/static/{name}")
    def static_file(name: str) -> Response:
        """One file."""
        if name not in KINDS:
            raise HTTPException(404, "there is no such file")
        kept = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(_content(name), media_type=KINDS[name], headers=kept)

    return routes


def address_of(name: str) -> str:
    """Where pages find a file."""
    return f"/static/{name}?{hashlib.sha256(_content(name)).hexdigest()[:12]}"


@functools.cache
def _content(name: str) -> bytes:
    return (resources.files("upkeep.webhook") / "static" / name).read_bytes()
