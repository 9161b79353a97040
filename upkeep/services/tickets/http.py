"""One bounded JSON question to a ticket system, asked again where that can help and does no harm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import SecretStr

from upkeep.errors import ServiceBusy, ServiceError, ServiceRefused, shorten
from upkeep.services.control_centre import Retries, retry_after
from upkeep.services.web import Limits, public, run_within, trust_store

_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _TIMED_OUT, _TOO_EARLY, _TOO_MANY, _BROKEN = 401, 403, 404, 408, 425, 429, 500
_REDIRECT, _BAD = 300, 400
_OUR_SIDE = frozenset({_UNAUTHORISED, _FORBIDDEN, _TIMED_OUT, _TOO_EARLY, _TOO_MANY})
_DEFAULT_WAIT = timedelta(seconds=10)
_LIMITS = Limits(body_bytes=4 * 1024**2, total=timedelta(seconds=20))


@dataclass(frozen=True)
class Credentials:
    """User and password, or a bearer token; never shown."""

    user: str = ""
    password: SecretStr | None = None
    token: SecretStr | None = None

    @property
    def basic(self) -> tuple[str, str] | None:
        """For HTTP basic authentication."""
        return (self.user, self.password.get_secret_value()) if self.password else None

    @property
    def headers(self) -> dict[str, str]:
        """For bearer authentication."""
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"} if self.token else {}


@dataclass(frozen=True)
class JsonAnswer:
    """A good answer: its JSON (None for an empty body) and headers."""

    data: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class JsonApi:
    """Asks one ticket system; safe to use from many threads."""

    url: str
    credentials: Credentials
    ca: str = ""
    limits: Limits = _LIMITS
    retries: Retries = field(default_factory=Retries)

    def get(self, path: str, params: Mapping[str, str] | None = None) -> JsonAnswer | None:
        """Read; None for 404. Asked again while the system is busy or broken.

        Raises:
            ServiceError: no answer, or none as agreed.
        """
        for pause in self.retries.pauses():
            try:
                return self._ask("GET", path, params, None)
            except ServiceBusy as busy:
                if busy.retry_after.total_seconds() > self.retries.longest.total_seconds():
                    raise
                self.retries.sleep(max(pause, busy.retry_after.total_seconds()))
            except ServiceRefused:
                raise
            except ServiceError:
                self.retries.sleep(pause)
        return self._ask("GET", path, params, None)

    def send(self, method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Write, once: whoever sends again first looks whether it arrived.

        Raises:
            ServiceError: no answer, or none as agreed; it may have arrived all the same.
        """
        answer = self._ask(method, path, None, body, headers)
        if answer is None:
            raise ServiceRefused(f"{public(self.url + path)}: there is nothing at this address (404)")
        return answer.data

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None = None,
    ) -> JsonAnswer | None:
        url, trust = self.url + path, trust_store(self.ca)
        asked = {"Accept": "application/json", **self.credentials.headers, **(headers or {})}

        async def exchange() -> tuple[httpx.Response, bytes]:
            waits = httpx.Timeout(self.limits.idle.total_seconds(), connect=self.limits.connect.total_seconds())
            auth = httpx.BasicAuth(*self.credentials.basic) if self.credentials.basic else None
            async with (
                httpx.AsyncClient(verify=trust, timeout=waits, follow_redirects=False, auth=auth) as client,
                client.stream(method, url, params=params, json=body, headers=asked) as response,
            ):
                return response, await _body(response, self.limits.body_bytes)

        response, content = run_within(self.limits.total, url, exchange)
        return _understood(public(url), response, content)


def text_of(value: object) -> str:
    """A JSON value as text; null is empty."""
    return "" if value is None else str(value).strip()


async def _body(response: httpx.Response, most: int) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > most:
            raise ServiceError(f"{public(str(response.url))}: the answer is larger than {most} bytes")
    return bytes(body)


def _understood(where: str, response: httpx.Response, body: bytes) -> JsonAnswer | None:
    status = response.status_code
    if status == _NOT_FOUND:
        return None
    if status == _TOO_MANY:
        seconds = retry_after(response.headers.get("retry-after", ""), datetime.now(UTC))
        wait = timedelta(seconds=seconds) if seconds else _DEFAULT_WAIT
        raise ServiceBusy(f"{where}: asks for fewer questions (429)", wait)
    if _REDIRECT <= status < _BAD:
        raise ServiceError(f"{where}: redirected us ({status}), perhaps to a login page; do: check address and sign-in")
    if status in {_UNAUTHORISED, _FORBIDDEN}:
        raise ServiceError(f"{where}: does not let us in ({status}); do: check user, password or token in tickets.yaml")
    if _BAD <= status < _BROKEN and status not in _OUR_SIDE:
        raise ServiceRefused(f"{where}: refused ({status}): {_excerpt(body)}")
    if status >= _BAD:
        raise ServiceError(f"{where}: answered with status {status}: {_excerpt(body)}")
    return JsonAnswer(_json(where, response, body), response.headers)


def _json(where: str, response: httpx.Response, body: bytes) -> Any:  # noqa: ANN401 - JSON
    if not body.strip():
        return None
    if "html" in response.headers.get("content-type", "").lower() or body.lstrip()[:1] == b"<":
        raise ServiceError(
            f"{where}: answered with a web page instead of JSON, perhaps a login page; do: check address and sign-in"
        )
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServiceError(f"{where}: the answer is not JSON: {_excerpt(body)}") from error


def _excerpt(body: bytes) -> str:
    return shorten(body[:500].decode("utf-8", "replace"), 120)
