"""Approving and rejecting in the browser: by somebody signed in, or by a link that is one person's for one stage of one run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tasks.approving import Word, approve, reject
from tasks.take_up_approved import waiting_runs
from upkeep.audit.approval_links import PATH, ApprovalLinks, Invitation
from upkeep.audit.approvals import waits_for
from upkeep.audit.browsing import RunLine
from upkeep.domain.approval import Standing
from upkeep.errors import BadInput, Refused
from upkeep.webhook.access import Access, Visitor, refuse_other_sites
from upkeep.webhook.guessing import guessing_of
from upkeep.webhook.rendering import page
from upkeep.webhook.run_progress import asked
from upkeep.wiring import Site

NAVIGATION = ("/approvals", "Approvals")
Decision = Literal["approve", "reject"]
_LONGEST_COMMENT = 400
_DONE = "approval_done.html.j2"


def router(site: Site) -> APIRouter:
    """The pages."""
    pages = ApprovalPages(site)
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/approvals", pages.waiting, methods=["GET"])
    routes.add_api_route(PATH, pages.linked, methods=["GET"])
    routes.add_api_route(PATH, pages.decide_by_link, methods=["POST"])
    routes.add_api_route("/approvals/{run_id}", pages.decide, methods=["POST"])
    return routes


class ApprovalPages:
    """Looking never decides anything: every decision is a form that somebody sends."""

    def __init__(self, site: Site) -> None:
        self._site, self._access = site, Access(site)
        self._links = ApprovalLinks(site.settings.keys)

    def waiting(self, request: Request) -> Response:
        """Every run that waits for people."""
        visitor = self._access.visitor(request)
        now = datetime.now(UTC)
        runs = [
            self._shown(line, standing, now) | {"objection": self._objection(visitor, standing, now)}
            for line, standing in waiting_runs(self._site)
        ]
        return page(request, "approvals.html.j2", visitor, asked=runs)

    def decide(
        self,
        request: Request,
        run_id: str,
        *,
        decision: Annotated[Decision, Form()],
        subject: Annotated[str, Form()],
        csrf: Annotated[str, Form()] = "",
        comment: Annotated[str, Form(max_length=_LONGEST_COMMENT)] = "",
    ) -> Response:
        """Approve or reject as whoever is signed in."""
        visitor = self._access.acting(request, csrf)
        person = self._site.people.by_name(visitor.name)
        word = Word(person, "page", comment.strip(), subject)
        return self._decided(request, run_id, decision, word, visitor)

    def linked(self, request: Request, code: str = "") -> Response:
        """What a link is for, and the form that decides it."""
        invitation = self._invitation(request, code)
        line = self._site.history.run_line(invitation.run)
        standing = waits_for(self._site.history, invitation.run)
        if line is None or standing is None or standing.subject != invitation.subject:
            raise HTTPException(410, f"run {invitation.run} does not wait for {invitation.subject} any more")
        shown = self._shown(line, standing, datetime.now(UTC))
        return page(request, "approval_link.html.j2", one=shown, person=invitation.person, code=code)

    def decide_by_link(
        self,
        request: Request,
        decision: Annotated[Decision, Form()],
        code: Annotated[str, Form()],
        comment: Annotated[str, Form(max_length=_LONGEST_COMMENT)] = "",
    ) -> Response:
        """Approve or reject as the person the link was made for."""
        refuse_other_sites(request)
        invitation = self._invitation(request, code)
        person = self._site.people.by_name(invitation.person)
        word = Word(person, "link", comment.strip(), invitation.subject)
        return self._decided(request, invitation.run, decision, word, None)

    def _decided(
        self, request: Request, run_id: str, decision: Decision, word: Word, visitor: Visitor | None
    ) -> Response:
        try:
            said = (approve if decision == "approve" else reject)(self._site, run_id, word)
        except BadInput as error:
            raise HTTPException(404, str(error)) from error
        except Refused as error:
            raise HTTPException(403, str(error)) from error
        return page(request, _DONE, visitor, said=said, run=run_id)

    def _invitation(self, request: Request, code: str) -> Invitation:
        guessing, address = guessing_of(request), self._access.address_of(request)
        guessing.refuse(address)
        try:
            return self._links.read(code)
        except Refused as error:
            guessing.wrong(address)
            raise HTTPException(403, str(error)) from error

    def _objection(self, visitor: Visitor, standing: Standing, now: datetime) -> str:
        person = self._site.people.by_name(visitor.name)
        if person is None:
            return "whoever has no token of their own approves nothing: upkeep people add"
        return standing.objection_to_yes(person, now)

    def _shown(self, line: RunLine, standing: Standing, now: datetime) -> dict[str, Any]:
        record = asked(self._site.history, line.id)
        return {
            "run": line,
            "record": record,
            "standing": standing,
            "told": standing.told(now),
            "met": standing.met(now),
            "hosts": ", ".join(host["name"] for host in record.targets[:20])
            + (", …" if len(record.targets) > 20 else ""),  # noqa: PLR2004
        }
