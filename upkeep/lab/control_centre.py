"""The reference control centre: release feed, node registry, policies, and figures that tests can set. Loopback only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field

from upkeep.domain.release import Release
from upkeep.domain.version import Version
from upkeep.lab.membership import Heartbeat, Membership, NotAuthentic, Registration

DEFAULT_FIGURES = {"error_pct": 0.2, "replication_lag_seconds": 0.5, "service_up": 1.0}
NOT_FOUND, UNAUTHORISED, BAD_REQUEST, UNPROCESSABLE, SILENT = 404, 401, 400, 422, 503


class Figure(BaseModel):
    """A figure's new value; null makes it silent."""

    value: float | None


class Offer(BaseModel):
    """The release to offer: a folder below releases/, and the version below which it is required."""

    folder: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    required_below: str = "0"


class PolicyVersion(BaseModel):
    """The policies' version."""

    version: str = Field(min_length=1, max_length=100)


def figures_app(figures: dict[str, float | None]) -> FastAPI:
    """Figures as a metrics system would serve them; a silent one answers 503."""
    app = _bare("Upkeep lab figures")

    @app.get("/v1/figures/{name}")
    async def figure(name: str) -> dict[str, float]:
        value = _known(figures, name)
        if value is None:
            raise HTTPException(SILENT, f"no data for {name}")
        return {"value": value}

    @app.put("/v1/figures/{name}")
    async def set_figure(name: str, figure: Figure) -> dict[str, float | None]:
        figures[name] = figure.value
        return {"value": figure.value}

    @app.get("/v1/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        return "".join(f"{name} {value}\n" for name, value in figures.items() if value is not None)

    return app


def control_centre_app(membership: Membership, releases: Path, figures: dict[str, float | None], url: str) -> FastAPI:
    """The API that agents and Upkeep talk to; `url` is its own address."""
    app = _bare("Upkeep lab control centre")
    _add_nodes(app, membership)
    _add_policies(app, membership)
    _add_releases(app, releases, url)
    app.include_router(figures_app(figures).router)
    return app


def _bare(title: str) -> FastAPI:
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(RequestValidationError)
    async def not_understood(_: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI's own answer repeats the body and fails on one that is not UTF-8.
        problems = [{"loc": problem["loc"], "msg": problem["msg"]} for problem in error.errors()]
        return JSONResponse({"detail": problems}, UNPROCESSABLE)

    return app


def _known(table: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - whatever the table holds
    if name not in table:
        raise HTTPException(NOT_FOUND, f"nothing known about '{name}'")
    return table[name]


def _add_nodes(app: FastAPI, membership: Membership) -> None:
    @app.post("/v1/nodes/register")
    async def register(message: Registration) -> dict[str, Any]:
        node = membership.register(message)
        return {**node.status(membership.clock()), "policy_version": membership.policy_version}

    @app.post("/v1/nodes/{name}/heartbeat")
    async def heartbeat(name: str, message: Heartbeat) -> dict[str, str]:
        _known(membership.nodes, name)
        membership.heartbeat(name, message)
        return {"policy_version": membership.policy_version}

    @app.get("/v1/nodes")
    async def nodes() -> list[dict[str, Any]]:
        now = membership.clock()
        return [membership.nodes[name].status(now) for name in sorted(membership.nodes)]

    @app.get("/v1/nodes/{name}")
    async def node(name: str) -> dict[str, object]:
        status: dict[str, object] = _known(membership.nodes, name).status(membership.clock())
        return status

    @app.delete("/v1/nodes/{name}")
    async def forget(name: str) -> dict[str, str]:
        _known(membership.nodes, name)
        membership.forget(name)
        return {"forgotten": name}

    @app.exception_handler(NotAuthentic)
    async def not_authentic(_: Request, error: NotAuthentic) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, UNAUTHORISED)


def _add_policies(app: FastAPI, membership: Membership) -> None:
    @app.get("/v1/policies/current")
    async def policies() -> dict[str, str]:
        return {"version": membership.policy_version}

    @app.put("/v1/policies/current")
    async def set_policies(policy: PolicyVersion) -> dict[str, str]:
        membership.policy_version = policy.version
        return {"version": policy.version}


def _add_releases(app: FastAPI, releases: Path, url: str) -> None:
    offer: dict[str, Offer] = {}

    @app.get("/v1/agent/update")
    def update(version: Annotated[str, Query(max_length=100)]) -> dict[str, object]:
        current = _version(version)
        chosen = offer.get("current") or newest(releases)
        release = Release.model_validate(json.loads((releases / chosen.folder / "release.json").read_text("utf-8")))
        artifact, base = release.artifacts[0], f"{url}/releases/{chosen.folder}"
        return {
            "required": current < Version.parse(chosen.required_below),
            "version": release.version,
            "download_url": f"{base}/{artifact.url}",
            "size_bytes": artifact.size_bytes,
            "sha256": artifact.sha256,
            "manifest_url": f"{base}/release.json",
            "signature_url": f"{base}/release.json.sig",
        }

    @app.put("/v1/agent/update")
    def set_offer(new: Offer) -> dict[str, str]:
        if not (releases / new.folder / "release.json").is_file():
            raise HTTPException(NOT_FOUND, f"no release in '{new.folder}'")
        offer["current"] = new
        return {"folder": new.folder}

    @app.get("/releases/{folder}/{name}")
    def release_file(folder: str, name: str) -> FileResponse:
        path = releases / folder / name
        if not path.is_file() or path.resolve().parent.parent != releases.resolve():
            raise HTTPException(NOT_FOUND, "no such file")
        return FileResponse(path)


def newest(releases: Path) -> Offer:
    """The newest good release: folders named by a bare version."""
    good = [path.name for path in releases.iterdir() if path.name.replace(".", "").isdigit()]
    return Offer(folder=max(good, key=Version.parse))


def _version(text: str) -> Version:
    try:
        return Version.parse(text)
    except ValueError as error:
        raise HTTPException(BAD_REQUEST, str(error)) from error
