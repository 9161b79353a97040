"""`upkeep start`: a runbook through the Prefect server, as its UI would start it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from upkeep.console.screen import screen
from upkeep.domain.record import RunRequest
from upkeep.errors import BadInput, ServiceError
from upkeep.project import prefect_settings

_TIMEOUT_SECONDS = 30


def start(runbook: str, request: RunRequest, *, deployment: str = "manual") -> None:
    """Ask the server to run a deployment of the runbook, and say where to watch it.

    Raises:
        BadInput: no server is configured, or it has no such deployment.
        ServiceError: the server did not answer, or refused.
    """
    api = _api()
    client = httpx.Client(timeout=_TIMEOUT_SECONDS, auth=_password())
    known = _answer(lambda: client.get(f"{api}/deployments/name/{runbook}/{deployment}"), api)
    if known.status_code == httpx.codes.NOT_FOUND:
        raise BadInput(
            f"the Prefect server at {api} has no deployment {runbook}/{deployment}", remedy="start one with upkeep up"
        )
    where = f"{api}/deployments/{_json(known)['id']}/create_flow_run"
    body = {"parameters": {"request": _absolute(request).model_dump(mode="json", exclude_defaults=True)}}
    run = _json(_answer(lambda: client.post(where, json=body), api))
    screen().print(f"{run['name']}: {api.removesuffix('/api')}/runs/flow-run/{run['id']}", soft_wrap=True)


def _absolute(request: RunRequest) -> RunRequest:
    """Files as the worker finds them, which has another working directory."""
    paths = {
        name: str(Path(value).absolute())
        for name, value in (("inventory", request.inventory), ("plan", request.plan))
        if value
    }
    return request.model_copy(update=paths)


def _api() -> str:
    prefect_settings(quiet=True)
    from prefect.settings import get_current_settings  # noqa: PLC0415 - Prefect reads its settings when it is imported

    api = get_current_settings().api.url
    if not api:
        raise BadInput(
            "no Prefect server is configured",
            allowed="PREFECT_API_URL, e.g. http://127.0.0.1:4200/api",
            remedy="upkeep up, then export PREFECT_API_URL=http://127.0.0.1:4200/api; without a server: upkeep run",
        )
    return api.rstrip("/")


def _password() -> tuple[str, str] | None:
    from prefect.settings import get_current_settings  # noqa: PLC0415

    secret = get_current_settings().api.auth_string
    user, _, password = secret.get_secret_value().partition(":") if secret else ("", "", "")
    return (user, password) if user else None


def _answer(ask: Any, api: str) -> httpx.Response:  # noqa: ANN401 - one of httpx's calls, without arguments
    try:
        response: httpx.Response = ask()
    except httpx.HTTPError as error:
        raise ServiceError(f"the Prefect server at {api} did not answer: {error}; is it running?") from error
    return response


def _json(response: httpx.Response) -> dict[str, Any]:
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise BadInput(
            "the Prefect server asks for a password",
            remedy="export PREFECT_API_AUTH_STRING=USER:PASSWORD, as `upkeep up` said",
        )
    if not response.is_success:
        raise ServiceError(f"the Prefect server refused: {response.status_code} {response.text[:400]}")
    return dict(response.json())
