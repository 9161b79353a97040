"""Signing in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from upkeep.domain.person import Person
from upkeep.webhook.access import Access, owner, refuse_other_sites
from upkeep.webhook.guessing import guessing_of
from upkeep.webhook.rendering import page
from upkeep.webhook.sign_in_link import SignInLink
from upkeep.wiring import Site

FIRST_PAGE = "/history"


def router(site: Site) -> APIRouter:
    """The pages for it."""
    return SignIn(site).routes()


class SignIn:
    """By a person's token, or once by the link that `upkeep up` prints."""

    def __init__(self, site: Site) -> None:
        self._access, self._link = Access(site), SignInLink(site.settings)

    def routes(self) -> APIRouter:
        """What is answered where."""
        routes = APIRouter(include_in_schema=False)
        routes.add_api_route("/", self.first, methods=["GET"])
        routes.add_api_route("/sign-in", self.ask, methods=["GET"])
        routes.add_api_route("/sign-in", self.by_token, methods=["POST"])
        routes.add_api_route("/sign-in/link", self.ask_link, methods=["GET"])
        routes.add_api_route("/sign-in/link", self.by_link, methods=["POST"])
        routes.add_api_route("/sign-out", self.out, methods=["POST"])
        return routes

    def first(self) -> Response:
        """To the runs."""
        return RedirectResponse(FIRST_PAGE, 303)

    def ask(self, request: Request, next: str = FIRST_PAGE) -> Response:  # noqa: A002 - the word in the address
        """The form for a token."""
        return self._form(request, next, "")

    def by_token(
        self,
        request: Request,
        token: Annotated[str, Form()] = "",
        next: Annotated[str, Form()] = FIRST_PAGE,  # noqa: A002
    ) -> Response:
        """Sign in whoever has this token."""
        refuse_other_sites(request)
        guessing, address = guessing_of(request), self._access.address_of(request)
        guessing.refuse(address)
        person = self._access.people.by_token(token.strip())
        if person is None:
            guessing.wrong(address)
            return self._form(
                request, next, "Nobody has this token. It may have been replaced: ask an admin for a new one.", 403
            )
        guessing.right(address)
        return self._welcome(request, person, next)

    def ask_link(self, request: Request, key: str = "") -> Response:
        """A button: what only fetches links must not use one up."""
        return page(request, "sign_in_link.html.j2", key=key, name=owner(), problem="")

    def by_link(self, request: Request, key: Annotated[str, Form()] = "") -> Response:
        """Sign in whoever started this controller."""
        refuse_other_sites(request)
        if not self._access.link_works_for(request):
            problem = (
                "This link works only on the machine itself and only while nobody has a token. Sign in with your token."
            )
        elif not self._used(request, key):
            problem = "This link was used already, or is an old one. Start upkeep up again to get a new one."
        else:
            return self._welcome(request, None, FIRST_PAGE)
        return page(request, "sign_in_link.html.j2", status=403, key="", name=owner(), problem=problem)

    def _used(self, request: Request, key: str) -> bool:
        guessing, address = guessing_of(request), self._access.address_of(request)
        guessing.refuse(address)
        if used := self._link.use(key):
            guessing.right(address)
        else:
            guessing.wrong(address)
        return used

    def out(self, request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        """Sign out."""
        self._access.acting(request, csrf)
        answer = RedirectResponse("/sign-in", 303)
        self._access.sign_out(answer)
        return answer

    def _form(self, request: Request, wanted: str, problem: str, status: int = 200) -> Response:
        nobody = not self._access.everybody()
        return page(
            request, "sign_in.html.j2", status=status, next=_ours(wanted), problem=problem, nobody_is_known=nobody
        )

    def _welcome(self, request: Request, person: Person | None, wanted: str) -> Response:
        answer = RedirectResponse(_ours(wanted), 303)
        self._access.sign_in(request, answer, person)
        return answer


def _ours(wanted: str) -> str:
    """A page of this application; anything else leads to the first one."""
    safe = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if safe else FIRST_PAGE
