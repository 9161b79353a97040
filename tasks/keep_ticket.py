"""Keeping to the change ticket: at the start of a run that changes hosts, before every stage, and again between hosts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.keep_windows import BOUND, measured_host_time
from upkeep.audit.history import History
from upkeep.audit.ticket_runs import runs_of_ticket
from upkeep.documents import load_inventory
from upkeep.domain.finding import Finding, blockers
from upkeep.domain.record import RunRecord, RunRequest
from upkeep.domain.ticket import Hosts, Ticket, TicketRef, fleet_names, judge, judge_while_running
from upkeep.errors import BadInput, Refused, ServiceError
from upkeep.services.tickets import Sources
from upkeep.wiring import Site, site

ASKED_EVERY = timedelta(seconds=30)
"""How old the ticket's word may be between two hosts of one stage; a stage never begins on an old one."""


class TicketKeeper:
    """Says before new hosts of one run whether its ticket still allows them."""

    def __init__(
        self,
        history: History,
        record: RunRecord,
        sources: Callable[[], Sources | None] = lambda: site().tickets,
    ) -> None:
        self._history, self._record, self._read = history, record, sources
        self._bound = is_bound(record)
        self._stage = ""
        self._asked: tuple[str, datetime] | None = None
        self._answer = ""

    def may_start(self, now: datetime, stage: str = "") -> str:
        """Why no host of `stage` may start now; empty when one may."""
        sources = self._read() if self._bound else None
        if sources is None:
            return ""
        if self._asked is None or self._asked[0] != stage or now - self._asked[1] >= ASKED_EVERY:
            self._answer = self._why_not(sources, now)
            self._asked = (stage, now)
        return self._answer

    def _why_not(self, sources: Sources, now: datetime) -> str:
        try:
            ref, ticket = fetched(sources, self._record.ticket)
        except (ServiceError, BadInput, Refused) as error:
            return f"ticket {self._record.ticket} could not be asked, and unknown is never good enough: {error}"
        rules = sources.source(ref).rules
        hosts = hosts_of(self._record, ci_label=rules.ci_label)
        against = blockers(judge_while_running(ticket, rules, hosts, now, needed(self._history, self._record)))
        return sentence(ref, against) if against else ""


def is_bound(record: RunRecord) -> bool:
    """Whether a ticket binds this run, once ticket systems are configured. The way back must not wait for one (ADR 9)."""
    return bool(record.ticket) and record.runbook in BOUND and not record.dry_run


def refuse_without_ticket(site: Site, record: RunRecord, request: RunRequest, now: datetime | None = None) -> None:
    """A run that names a ticket begins only if the ticket allows it now, and only once per plan.

    Raises:
        Refused: every rule that is against it, with what to do; also when its system cannot be asked.
        BadInput: the number is none of a configured source's tickets.
    """
    if not is_bound(record) or site.tickets is None:
        return
    try:
        ref, ticket = fetched(site.tickets, record.ticket)
    except ServiceError as error:
        raise Refused(
            f"ticket {record.ticket} could not be asked, and unknown is never good enough: {error}",
            remedy="start again when its system answers",
        ) from error
    rules = site.tickets.source(ref).rules
    hosts = hosts_of(record, request, rules.ci_label)
    findings = judge(ticket, rules, hosts, now or datetime.now(UTC), needed(site.history, record))
    against = blockers(findings)
    if against:
        raise Refused(sentence(ref, against), remedy="; ".join(dict.fromkeys(one.remedy for one in against)))
    earlier = earlier_run(site.history, str(ref), record.plan_hash)
    if earlier and not record.of_run:
        raise Refused(
            f"ticket {ref} and this plan were run already: {earlier}",
            remedy=f"upkeep retry {earlier} finishes it; another change needs another ticket",
        )


def fetched(sources: Sources, text: str) -> tuple[TicketRef, Ticket]:
    """The ticket as it is now.

    Raises:
        BadInput: the number is none of a configured source's tickets.
        Refused: there is no such ticket.
        ServiceError: its system does not answer.
    """
    ref = sources.ref(text)
    ticket = sources.system(ref.source).ticket(ref.id)
    if ticket is None:
        raise Refused(f"there is no ticket {ref}", remedy="check its number")
    return ref, ticket


def hosts_of(record: RunRecord, request: RunRequest | None = None, ci_label: str = "") -> Hosts:
    """The run's hosts, and every host a ticket could mean where the request names an inventory."""
    whole = bool(request and request.inventory)
    known = load_inventory(Path(request.inventory)).all_hosts() if request and whole else record.targets
    targets = tuple(host.name for host in record.targets)
    return Hosts(targets=targets, fleet=fleet_names(known, ci_label), whole=whole, part=bool(record.of_run))


def needed(history: History, record: RunRecord) -> timedelta:
    """What one host takes, with its way back."""
    time = measured_host_time(history, record)
    return time.change + time.rollback


def sentence(ref: TicketRef, against: Collection[Finding]) -> str:
    """Why a ticket does not allow a change, in one line."""
    return f"ticket {ref}: " + "; ".join(finding.reason for finding in against)


def earlier_run(history: History, ticket: str, plan_hash: str) -> str:
    """The run that was made for this ticket and plan before; empty when there is none."""
    runs = (run for run in runs_of_ticket(history, ticket) if run.record.plan_hash == plan_hash)
    return next((run.id for run in runs if run.runbook in BOUND), "")
