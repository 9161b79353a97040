"""Who is asking, and whether they may: a signed session cookie, or a name from the site's own proxy."""

from __future__ import annotations

import functools
import getpass
import ipaddress
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import HTTPException, status
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from upkeep.audit.people import People
from upkeep.domain.person import Person
from upkeep.errors import BadInput
from upkeep.webhook.secret_file import kept_secret
from upkeep.wiring import Site

COOKIE = "upkeep_session"
SESSION_SECONDS = 12 * 3600
ADMIN = "admin"
HERE = "here"
"""Whoever started this controller, signed in by its link; possible only while it knows no people."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Visitor:
    """Somebody who is signed in; `csrf` belongs into every form shown to them."""

    name: str
    roles: frozenset[str]
    csrf: str
    how: str

    def may(self, role: str) -> bool:
        """Whether they have a role; an admin has all."""
        return role in self.roles or ADMIN in self.roles


class Access:
    """Signing in and out, and what each request may do; raises BadInput when the trusted proxies cannot be read."""

    def __init__(self, site: Site) -> None:
        self._site, self.people = site, People(site.history)
        self._proxies = _networks(site.settings.trusted_proxies)

    def everybody(self) -> list[Person]:
        """Everybody who may sign in."""
        return [person for person in self.people.everybody() if person.revoked_at is None]

    def visitor(self, request: Request) -> Visitor:
        """Who is asking.

        Raises:
            HTTPException: 303 to the sign-in page when nobody is signed in, 403 when the proxy names somebody unknown.
        """
        found = self.perhaps(request)
        if found is None:
            here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            where = f"/sign-in?next={quote(here, safe='')}" if request.method == "GET" else "/sign-in"
            raise HTTPException(status.HTTP_303_SEE_OTHER, "sign in first", headers={"Location": where})
        return found

    def perhaps(self, request: Request) -> Visitor | None:
        """Who is asking, if they are signed in."""
        named = self._from_proxy(request)
        return self._of_proxy(named) if named else self._of_cookie(request)

    def acting(self, request: Request, csrf: str, role: str = "") -> Visitor:
        """Who sends a form, after it is certain that it is one of our forms and that they may.

        Raises:
            HTTPException: 403, saying what is missing.
        """
        visitor = self.visitor(request)
        refuse_other_sites(request)
        known = self._read(csrf, "csrf", SESSION_SECONDS)
        if known != _csrf_of(visitor.name, visitor.how):
            raise _forbidden(
                "this form is too old, or not one of ours; nothing was done. Load the page again and repeat it"
            )
        if role and not visitor.may(role):
            raise _forbidden(f"{visitor.name} is not {_an(role)}; an admin can give that role. Nothing was done")
        return visitor

    def sign_in(self, request: Request, response: Response, person: Person | None) -> None:
        """Put the session into the answer; nobody means whoever started this controller."""
        facts = (
            {"name": person.name, "how": "token", "since": _since(person)} if person else {"name": owner(), "how": HERE}
        )
        session = self._signer("session").dumps(facts | {"id": secrets.token_hex(8)})
        response.set_cookie(
            COOKIE, session, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=self._by_tls(request)
        )

    def sign_out(self, response: Response) -> None:
        """Take the session out of the browser."""
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")

    def address_of(self, request: Request) -> str:
        """Where a request comes from: what a trusted proxy was asked by, else the other end itself."""
        peer = _peer(request)
        forwarded = (
            request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip() if self._is_proxy(peer) else ""
        )
        return forwarded or peer

    def link_works_for(self, request: Request) -> bool:
        """The sign-in link is for somebody on this machine, and only while the controller knows no people."""
        return _is_loopback(_peer(request)) and not self._from_proxy(request) and not self.everybody()

    def _of_cookie(self, request: Request) -> Visitor | None:
        session = self._read(request.cookies.get(COOKIE, ""), "session", SESSION_SECONDS)
        if not isinstance(session, dict):
            return None
        name, how = str(session.get("name")), str(session.get("how"))
        if how == HERE:
            return self._visitor(name, {ADMIN}, how) if self.link_works_for(request) else None
        person = self.people.by_name(name)
        if person is None or _since(person) != session.get("since"):  # revoked, or given a new token meanwhile
            return None
        return self._visitor(person.name, person.roles, how)

    def _from_proxy(self, request: Request) -> str:
        header = self._site.settings.proxy_header
        return request.headers.get(header, "") if header and self._is_proxy(_peer(request)) else ""

    def _of_proxy(self, name: str) -> Visitor:
        person = next((one for one in self.everybody() if one.is_called(name)), None)
        if person is None:
            raise _forbidden(f"the proxy says you are {name}, whom this controller does not know; an admin can add you")
        return self._visitor(person.name, person.roles, "proxy")

    def _visitor(self, name: str, roles: Any, how: str) -> Visitor:  # noqa: ANN401 - any collection of words
        csrf = self._signer("csrf").dumps(_csrf_of(name, how))
        return Visitor(name, frozenset(map(str, roles)), str(csrf), how)

    def _by_tls(self, request: Request) -> bool:
        forwarded = request.headers.get("x-forwarded-proto") if self._is_proxy(_peer(request)) else None
        return (forwarded or request.url.scheme) == "https"

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)

    def _signer(self, what: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._secret, salt=f"upkeep {what}")

    @functools.cached_property
    def _secret(self) -> str:
        return kept_secret(self._site.settings.home / "session-key")

    def _read(self, text: str, what: str, seconds: int) -> object:
        try:
            return self._signer(what).loads(text, max_age=seconds)
        except BadSignature:
            return None


def refuse_other_sites(request: Request) -> None:
    """Browsers say where a form was sent from: nothing may come from another site.

    Raises:
        HTTPException: 403.
    """
    origin, fetched = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or fetched not in {"same-origin", "none"}:
        raise _forbidden("this form was sent from another site; nothing was done")


def owner() -> str:
    """Whose process this is."""
    return getpass.getuser()


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word) for word in text.replace(",", " ").split())
    except ValueError as error:
        allowed = "addresses or networks, e.g. 10.0.0.5, 10.1.0.0/24"
        raise BadInput("UPKEEP_TRUSTED_PROXIES cannot be read", found=error, allowed=allowed) from error


def _since(person: Person) -> str:
    return person.added_at.isoformat()


def _csrf_of(name: str, how: str) -> list[str]:
    return [name, how]


def _forbidden(why: str) -> HTTPException:
    return HTTPException(status.HTTP_403_FORBIDDEN, why)


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def _an(role: str) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"
