"""A change that was asked for and may not begin is an event: who asked, for what, why not; its ticket is told as well."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.keep_windows import BOUND
from tasks.prepare_run import KINDS
from tasks.tell_tickets import put, refusal
from upkeep.audit.ticket_runs import runs_of_ticket
from upkeep.domain.record import Actor, RunRequest
from upkeep.errors import AuditError, BadInput, Refused, UpkeepError
from upkeep.wiring import Site

ACTION = "run.refused"
NOTED = BOUND | {"rollback"}
log = logging.getLogger(__name__)


@contextmanager
def refusals_noted(site: Site, runbook: str, request: RunRequest) -> Iterator[None]:
    """Whatever keeps a change from being opened is written down while a `with` lasts, and raised on.

    A start by schedule is written down as missed instead (`tasks.missed_starts`).
    """
    try:
        yield
    except (BadInput, Refused) as error:
        if runbook in NOTED and not request.dry_run and request.source != "schedule":
            _note(site, runbook, request, error)
        raise


def _note(site: Site, runbook: str, request: RunRequest, error: UpkeepError) -> None:
    asked = {"plan": request.plan, "inventory": request.inventory, "of_run": request.of_run, "ticket": request.ticket}
    body = {"runbook": runbook, "source": request.source, **{key: text for key, text in asked.items() if text}}
    actor = Actor(name=request.requested_by or getpass.getuser(), kind=KINDS.get(request.source, "person"))
    if request.source != "cli":  # a terminal shows it already
        log.warning("%s of plan %s is refused: %s", runbook, request.plan or request.of_run, error)
    try:
        site.history.record("", ACTION, reason=str(error), body=body, actor=actor)
        _tell_ticket(site, request.ticket, str(error))
    except AuditError:
        log.exception("a refused %s could not be written into the history", runbook)


def _tell_ticket(site: Site, number: str, why: str) -> None:
    """Once for the same reason; a ticket whose run there was hears nothing more."""
    try:
        ref = site.tickets.ref(number) if number and site.tickets is not None else None
    except BadInput:
        return
    if ref is not None and not runs_of_ticket(site.history, str(ref)):
        put(site, ref, refusal(ref, (why,), ()))
