"""One bounded HTTP question: connect, idle and total time, size and redirects all have limits, whatever the server does."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx

from upkeep.errors import BadInput, Place, ServiceError

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Limits:
    """How long and how much: `connect` and `idle` for one wait, `total` for the whole question, body in bytes, redirects."""

    connect: timedelta = timedelta(seconds=10)
    idle: timedelta = timedelta(seconds=15)
    total: timedelta = timedelta(seconds=30)
    body_bytes: int = 1024**2
    redirects: int = 3


@dataclass(frozen=True)
class Answer:
    """What a server answered; `url` is where it came from after redirects, without user, password and query."""

    status: int
    body: bytes
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


def get(
    url: str, *, headers: Mapping[str, str] | None = None, ca: str | Path = "", limits: Limits | None = None
) -> Answer:
    """Ask with GET; any status is an answer.

    Raises:
        ServiceError: no answer within the limits, or TLS or a redirect that must not be followed.
        BadInput: the CA file cannot be used.
    """
    limits = limits or Limits()
    return run_within(limits.total, url, lambda: _get(url, headers or {}, trust_store(str(ca)), limits))


def run_within(total: timedelta, url: str, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run an HTTP exchange in an event loop of its own and end it when `total` has passed.

    Raises:
        ServiceError: the time is over, or httpx gave up.
    """

    async def bounded() -> T:
        async with asyncio.timeout(total.total_seconds()):
            return await question()

    try:
        return _in_own_loop(bounded)
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise ServiceError(f"{public(url)}: {reason_of(error, total)}") from error


@asynccontextmanager
async def opened(
    url: str, headers: Mapping[str, str], trust: ssl.SSLContext, limits: Limits
) -> AsyncIterator[httpx.Response]:
    """An open GET response, redirects followed within the limits; its body has not been read.

    Raises:
        ServiceError: too many redirects, or one that leaves http(s) or falls back from https to http.
    """
    waits = httpx.Timeout(limits.idle.total_seconds(), connect=limits.connect.total_seconds())
    plain = {"Accept-Encoding": "identity", **headers}
    async with httpx.AsyncClient(verify=trust, timeout=waits, follow_redirects=False) as client:
        request = client.build_request("GET", url, headers=plain)
        _check_address(request.url)
        for _ in range(limits.redirects + 1):
            response = await _sent(client, request, limits)
            try:
                if response.status_code not in _REDIRECTS or response.next_request is None:
                    yield response
                    return
                request = _checked_redirect(request, response.next_request)
            finally:
                await response.aclose()
        raise ServiceError(f"{public(url)}: more than {limits.redirects} redirects")


@functools.lru_cache(maxsize=32)
def trust_store(ca: str) -> ssl.SSLContext:
    """Certificates to trust: those in `ca`, or the system's where it is empty.

    Raises:
        BadInput: the CA file is missing or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        allowed = "a PEM file with certificates"
        raise BadInput("CA file cannot be used", place=Place(ca), found=str(error), allowed=allowed) from error


def public(url: str) -> str:
    """A URL fit for messages: no user, password, query or fragment."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(an address that cannot be read)"
    return urlunsplit((parts.scheme, f"{host}{port}", parts.path, "", ""))


def reason_of(error: Exception, total: timedelta | None = None) -> str:
    """Why an exchange failed, in words."""
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection within the time limit"
    if isinstance(error, (httpx.ReadTimeout, httpx.WriteTimeout)):
        return "connected, but silent for too long"
    if isinstance(error, TimeoutError):
        return f"no complete answer within {total.total_seconds():g} s" if total else "too slow"
    if isinstance(error, (httpx.LocalProtocolError, UnicodeError)):
        return "the address or a header holds characters that HTTP does not allow"
    return str(error) or type(error).__name__


async def _get(url: str, headers: Mapping[str, str], trust: ssl.SSLContext, limits: Limits) -> Answer:
    async with opened(url, headers, trust, limits) as response:
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > limits.body_bytes:
                raise ServiceError(f"{public(url)}: the answer is larger than {limits.body_bytes} bytes")
        return Answer(response.status_code, bytes(body), public(str(response.url)), response.headers)


async def _sent(client: httpx.AsyncClient, request: httpx.Request, limits: Limits) -> httpx.Response:
    """The response's head; a server that drips it byte by byte never trips the idle limit, hence the limit on the whole."""
    try:
        async with asyncio.timeout((limits.connect + limits.idle).total_seconds()):
            return await client.send(request, stream=True)
    except TimeoutError as error:
        raise ServiceError(f"{public(str(request.url))}: no complete answer in time") from error


def _checked_redirect(request: httpx.Request, following: httpx.Request) -> httpx.Request:
    _check_address(following.url)
    if request.url.scheme == "https" and following.url.scheme != "https":
        raise ServiceError(f"{public(str(request.url))}: redirected from https to http, which is not followed")
    return following


def _check_address(url: httpx.URL) -> None:
    if url.scheme not in {"http", "https"} or not url.host or (url.port or 1) > _HIGHEST_PORT:
        raise ServiceError(f"{public(str(url))}: not an http(s) address with a host and a port up to {_HIGHEST_PORT}")


def _in_own_loop(bounded: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it here, or in a thread of its own where this thread's loop is already running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(bounded())
    with ThreadPoolExecutor(1, thread_name_prefix="upkeep-http") as thread:
        return thread.submit(lambda: asyncio.run(bounded())).result()
