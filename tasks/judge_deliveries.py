"""Judging what ticket systems sent: each ticket is asked again, and a change that may begin is started once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.keep_ticket import earlier_run, hosts_of, needed, sentence
from tasks.keep_windows import BOUND, refuse_outside_window
from tasks.prepare_run import Prepared, prepare
from tasks.refuse_unapprovable import refuse_unapprovable
from tasks.tell_tickets import put, refusal, waiting
from upkeep.audit.deliveries import MOST_ATTEMPTS, Delivery, Fate
from upkeep.audit.reading import RunDetail
from upkeep.audit.ticket_runs import runs_of_ticket
from upkeep.domain.finding import blockers
from upkeep.domain.record import Actor, RunRequest
from upkeep.domain.ticket import Ticket, TicketRef, judge, judge_while_running, waits_until
from upkeep.errors import AuditError, BadInput, Refused, ServiceBusy, UpkeepError
from upkeep.services.tickets import Sources
from upkeep.wiring import Site

RUNBOOK = "maintenance"
DEPLOYMENT = f"{RUNBOOK}/manual"
log = logging.getLogger(__name__)

Start = Callable[[str, Mapping[str, Any], str], str]
"""Starts a deployment with parameters, once per idempotency key; the flow run's id."""


@dataclass(frozen=True)
class Judged:
    """What became of one ticket's deliveries."""

    ref: TicketRef
    fate: Fate
    reason: str
    plan_hash: str = ""
    flow_run_id: str = ""
    again_at: datetime | None = None


def judge_deliveries(site: Site, start: Start, now: datetime | None = None) -> list[Judged]:
    """Judge every ticket with new deliveries, or whose planned start has come.

    Raises:
        AuditError: the history cannot be used; nothing was started.
    """
    sources = site.tickets
    if sources is None:
        return []
    done: list[Judged] = []
    while taken := site.deliveries.due(now or datetime.now(UTC)):
        for ref, deliveries in taken.items():
            judged = _judged(site, sources, ref, deliveries, start, now or datetime.now(UTC))
            done += [judged] if judged is not None else []
    return done


def _judged(  # noqa: PLR0917 - one ticket's whole context
    site: Site, sources: Sources, ref: TicketRef, deliveries: Sequence[Delivery], start: Start, now: datetime
) -> Judged | None:
    try:
        judged = _judge(site, sources, ref, start, now)
    except AuditError:
        raise
    except UpkeepError as error:
        log.warning("ticket %s could not be judged and will be again: %s", ref, error)
        wait = error.retry_after if isinstance(error, ServiceBusy) else None
        site.deliveries.not_judged(deliveries, str(error), now, retry_after=wait)
        _note_not_judged(site, ref, deliveries, str(error), now)
        return None
    if judged.fate is Fate.REFUSED:
        log.warning("ticket %s is refused: %s", ref, judged.reason)
    if judged.fate is not Fate.KEPT or judged.plan_hash:
        body = {"ticket": str(ref), "deliveries": [one.delivery for one in deliveries], "plan_hash": judged.plan_hash}
        actor = Actor(name=str(ref), kind="ticket")
        site.history.record("", f"ticket.{judged.fate}", reason=judged.reason, body=body, actor=actor)
    site.deliveries.judged(
        deliveries,
        judged.fate,
        judged.reason,
        now,
        plan_hash=judged.plan_hash,
        flow_run_id=judged.flow_run_id,
        again_at=judged.again_at,
    )
    return judged


def _note_not_judged(site: Site, ref: TicketRef, deliveries: Sequence[Delivery], why: str, now: datetime) -> None:
    """The first time and the last time are in the history; the last one is told to the ticket as well."""
    body = {"ticket": str(ref), "deliveries": [one.delivery for one in deliveries]}
    actor = Actor(name=str(ref), kind="ticket")
    if any(one.attempts == 0 for one in deliveries):
        site.history.record("", "ticket.not_judged", reason=f"{why}; it is asked again", body=body, actor=actor)
    if any(one.attempts + 1 >= MOST_ATTEMPTS for one in deliveries):
        reason = f"it could not be judged for about a day: {why}"
        site.history.record("", "ticket.given_up", reason=reason, body=body, actor=actor)
        put(site, ref, refusal(ref, (reason,), ("change the ticket once more when both systems answer",)), now)


def _judge(site: Site, sources: Sources, ref: TicketRef, start: Start, now: datetime) -> Judged:
    if ref.source not in sources.sources:
        return Judged(ref, Fate.REFUSED, f"there is no ticket source '{ref.source}' any more")
    ticket = sources.system(ref.source).ticket(ref.id)
    if ticket is None:
        return Judged(ref, Fate.REFUSED, f"there is no ticket {ref}")
    runs = runs_of_ticket(site.history, str(ref))
    under_way = [run for run in runs if run.outcome is None and run.runbook in BOUND]
    if under_way:
        return _keep(site, sources, ticket, under_way, now)
    try:
        return _may_start(site, sources, ticket, start, now)
    except (Refused, BadInput) as error:
        return _refused(site, ref, (str(error),), (), now, quiet=bool(runs))


def _keep(site: Site, sources: Sources, ticket: Ticket, runs: Sequence[RunDetail], now: datetime) -> Judged:
    """Runs that are under way: the ticket's new word may stop them at once."""
    rules, sentences = sources.source(ticket.ref).rules, []
    for run in runs:
        hosts = hosts_of(run.record, ci_label=rules.ci_label)
        against = blockers(judge_while_running(ticket, rules, hosts, now, needed(site.history, run.record)))
        if against and site.history.stop_requested(run.id) is None:
            why = sentence(ticket.ref, against)
            site.history.request_stop(run.id, Actor(name=str(ticket.ref), kind="ticket"), why)
            sentences.append(f"run {run.id} was asked to stop: {why}")
        else:
            sentences.append(f"run {run.id} is under way")
    return Judged(ticket.ref, Fate.KEPT, "; ".join(sentences))


def _may_start(site: Site, sources: Sources, ticket: Ticket, start: Start, now: datetime) -> Judged:
    ref, rules = ticket.ref, sources.source(ticket.ref).rules
    request = request_of(sources, ticket)
    prepared = prepare(site, RUNBOOK, request, with_archives=False)
    record = prepared.record
    findings = judge(ticket, rules, hosts_of(record, request, rules.ci_label), now, needed(site.history, record))
    until = waits_until(ticket, findings, now)
    earlier = earlier_run(site.history, str(ref), record.plan_hash) or site.deliveries.started(ref, record.plan_hash)
    if earlier:
        return Judged(ref, Fate.KEPT, f"this ticket and plan were started already: {earlier}", record.plan_hash)
    if until is not None:
        put(site, ref, waiting(ref, until), now)
        return Judged(ref, Fate.WAITING, f"waits for its planned start, {until.isoformat()}", again_at=until)
    against = blockers(findings)
    if against:
        quiet = bool(runs_of_ticket(site.history, str(ref)))
        reasons = tuple(one.reason for one in against)
        return _refused(site, ref, reasons, tuple(one.remedy for one in against), now, quiet=quiet)
    refuse_unapprovable(record, request)
    refuse_outside_window(site, record, now)
    return _started(ref, request, prepared, start)


def _started(ref: TicketRef, request: RunRequest, prepared: Prepared, start: Start) -> Judged:
    plan_hash = prepared.record.plan_hash
    flow_run = start(
        DEPLOYMENT, {"request": request.model_dump(mode="json", exclude_defaults=True)}, f"{ref}:{plan_hash}"
    )
    return Judged(ref, Fate.STARTED, f"started as flow run {flow_run}", plan_hash, flow_run)


def _refused(
    site: Site, ref: TicketRef, reasons: tuple[str, ...], remedies: tuple[str, ...], now: datetime, *, quiet: bool
) -> Judged:
    """A ticket whose run is over already hears nothing more: its later states are not asking for another one."""
    if not quiet:
        put(site, ref, refusal(ref, reasons, remedies), now)
    return Judged(ref, Fate.REFUSED, "; ".join(reasons))


def request_of(sources: Sources, ticket: Ticket) -> RunRequest:
    """What a ticket asks for, as a request for a run.

    Raises:
        Refused: it names no plan that its source may ask for.
    """
    asked = sources.asked(ticket.ref, ticket.plan)
    return RunRequest(
        inventory=str(asked.inventory),
        plan=str(asked.plan),
        settings=dict(asked.settings),
        ticket=str(ticket.ref),
        reason=ticket.title[:400],
        requested_by=ticket.requester[:120] or str(ticket.ref),
        source="webhook",
    )
