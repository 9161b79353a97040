"""What tickets are told of their runs: read off the history, so that nothing is lost or said twice whoever died meanwhile."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from upkeep.audit.reading import RunDetail
from upkeep.audit.ticket_runs import ticketed_since
from upkeep.domain.change import RunOutcome
from upkeep.domain.ticket import TicketRef
from upkeep.errors import BadInput
from upkeep.services.tickets import Sources
from upkeep.wiring import Site

NOTE, MOVE = "ticket.note", "ticket.move"
TOLD_FOR = timedelta(days=7)
_MOST_HOSTS = 20
_GOOD = frozenset({RunOutcome.SUCCEEDED})


@dataclass(frozen=True)
class Word:
    """One thing to tell a ticket; `key` is what it is told once for."""

    key: str
    kind: str
    text: str
    state: str = ""


def tell_tickets(site: Site, now: datetime | None = None) -> int:
    """Put into the outbox what tickets have not been told yet; how much that was."""
    now = now or datetime.now(UTC)
    return sum(tell_ticket(site, run, now) for run in ticketed_since(site.history, now - TOLD_FOR))


def tell_ticket(site: Site, run_id: str, now: datetime | None = None) -> int:
    """The same for one run."""
    sources = site.tickets
    detail = site.history.run(run_id)
    if sources is None or detail.record.dry_run or not detail.ticket:
        return 0
    try:
        ref = sources.ref(detail.ticket)
    except BadInput:
        return 0  # a label of a time before ticket systems were configured
    known = {letter.key for letter in site.outbox.all(target=str(ref))}
    return sum(put(site, ref, word, now) for word in _words(sources, ref, detail) if word.key not in known)


def put(site: Site, ref: TicketRef, word: Word, now: datetime | None = None) -> bool:
    """Into the outbox, with a mark by which a note is found again in the ticket."""
    marker = f"[upkeep {hashlib.sha256(word.key.encode()).hexdigest()[:12]}]"
    body = {"text": f"{word.text}\n{marker}", "marker": marker, "state": word.state}
    return site.outbox.put(word.kind, word.key, str(ref), body, now or datetime.now(UTC))


def refusal(ref: TicketRef, reasons: tuple[str, ...], remedies: tuple[str, ...]) -> Word:
    """Why nothing was started, once for the same reasons."""
    digest = hashlib.sha256("\n".join(sorted(reasons)).encode()).hexdigest()[:16]
    lines = ["Upkeep did not start this change.", *(f"- {reason}" for reason in reasons)]
    lines += ["To do:", *(f"- {remedy}" for remedy in dict.fromkeys(remedies))] if remedies else []
    return Word(f"{ref}:refused:{digest}", NOTE, "\n".join(lines))


def waiting(ref: TicketRef, until: datetime) -> Word:
    """The ticket is good and early."""
    text = f"Upkeep will look at this change again at its planned start, {until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC."
    return Word(f"{ref}:waits:{until.isoformat()}", NOTE, text)


def _words(sources: Sources, ref: TicketRef, run: RunDetail) -> Iterator[Word]:
    yield Word(f"{run.id}:opened", NOTE, _opened(run))
    for stage in run.stages:
        if stage.closed_at is not None:
            why = f": {stage.reason}" if stage.reason else ""
            text = f"Upkeep run {run.id}: stage {stage.name} with {_hosts(len(stage.hosts))} is over, {stage.verdict}{why}."
            yield Word(f"{run.id}:stage:{stage.name}", NOTE, text)
    if run.outcome is None:
        return
    yield Word(f"{run.id}:closed", NOTE, _closed(run))
    closing = sources.source(ref).closing
    state = closing.succeeded if run.outcome in _GOOD else closing.otherwise
    if state and run.runbook == "maintenance":
        text = f"Upkeep run {run.id}: {run.outcome.value}. {run.reason}"
        yield Word(f"{run.id}:moved:{state}", MOVE, text, state)


def _opened(run: RunDetail) -> str:
    record = run.record
    version = f" to version {record.release.version}" if record.release else ""
    what = f"{record.profile.name}{version} on {_hosts(len(record.targets))}"
    lines = [
        f"Upkeep run {run.id} has begun: {run.runbook} by plan {record.plan.name}, {what}.",
        f"Started by {record.actor.name} ({run.source}). Plan hash {record.plan_hash}.",
    ]
    return "\n".join(lines)


def _closed(run: RunDetail) -> str:
    counts = Counter(host.outcome.value if host.outcome else "open" for host in run.hosts.values())
    hosts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())) or "no host was touched"
    lines = [
        f"Upkeep run {run.id} is over: {run.outcome.value if run.outcome else ''}. {run.reason}",
        f"Hosts: {hosts}.",
    ]
    bad = [(name, host) for name, host in sorted(run.hosts.items()) if host.outcome and host.failure_class]
    lines += [
        f"- {name}: {host.outcome.value if host.outcome else ''}: {host.reason}" for name, host in bad[:_MOST_HOSTS]
    ]
    if len(bad) > _MOST_HOSTS:
        lines.append(f"- and {len(bad) - _MOST_HOSTS} more")
    lines.append(
        f"Evidence: plan hash {run.record.plan_hash}; the signed evidence pack is made by: upkeep history export {run.id}"
    )
    return "\n".join(lines)


def _hosts(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"
