"""Change tickets: what one says, and whether hosts may be changed on its word now."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, Field

from upkeep.domain.document import Document, words
from upkeep.domain.finding import Finding, Verdict
from upkeep.errors import BadInput, shorten

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_NAMED = 10


class TicketRef(Document):
    """Which ticket of which source; written `source/ID`."""

    source: str
    id: str

    def __str__(self) -> str:
        """`source/ID`."""
        return f"{self.source}/{self.id}"


class Ticket(Document):
    """A change ticket as its system told it just now; what the system does not say is None or empty."""

    ref: TicketRef
    key: str = Field("", description="The system's own key, where it differs from the number people use")
    title: str = ""
    state: str = Field(description="As the system names it")
    state_label: str = Field("", description="As people see it")
    approved: bool | None = Field(None, description="None: the system does not say")
    approval: str = Field("", description="What it says about approval, in its words")
    on_hold: bool = False
    on_hold_reason: str = ""
    planned_start: AwareDatetime | None = None
    planned_end: AwareDatetime | None = None
    cis: tuple[str, ...] = Field((), description="Configuration items the change is about")
    plan: str = Field("", description="Name of the plan the ticket asks for")
    requester: str = ""
    url: str = Field("", description="Where people read it")

    @property
    def state_shown(self) -> str:
        """The state as people know it, with the system's value where that differs."""
        return f"{self.state_label} ({self.state})" if self.state_label not in {"", self.state} else self.state


class TicketRules(Document):
    """What a ticket of one source has to be like before hosts are changed on its word."""

    implement: tuple[str, ...] = Field(
        ("-1", "Implement", "Implementing", "In progress"), description="States in which hosts may be changed"
    )
    cancelled: tuple[str, ...] = Field(
        ("4", "Canceled", "Cancelled", "Declined"),
        description="States that mean that the change is not wanted any more",
    )
    closed: tuple[str, ...] = Field(
        ("3", "Closed", "Done", "Completed"), description="States that mean that the change is over"
    )
    on_hold: tuple[str, ...] = Field(("On hold",), description="States that mean hold, beside the system's own flag")
    needs_approval: bool = True
    needs_planned_time: bool = True
    ci_label: str = Field("", description="Host label that holds the configuration item's name, beside the host's name")


class Hosts(Document):
    """The hosts of a run, for comparison with a ticket; `fleet` maps every known name of a host to the hosts called so."""

    targets: tuple[str, ...]
    fleet: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    whole: bool = Field(default=True, description="Whether `fleet` holds the whole inventory, or only the targets")
    part: bool = Field(default=False, description="Only some of the plan's hosts: a retry")


def parse_ref(text: str, sources: Mapping[str, str]) -> TicketRef:
    """`source/ID`, or `ID` where the pattern of exactly one source (name to pattern) fits.

    Raises:
        BadInput: not a ticket's number, an unknown source, or several could be meant.
    """
    allowed = (
        f"SOURCE/ID with a source of {', '.join(sorted(sources)) or '(none is configured)'}, or an ID of one of them"
    )
    name, slash, number = text.strip().rpartition("/")
    if _ID.fullmatch(number) is None:
        raise BadInput("this is not a ticket's number", found=shorten(text, 80), allowed=allowed)
    fitting = [source for source, pattern in sources.items() if _fits(pattern, number) and name in {"", source}]
    if len(fitting) == 1:
        return TicketRef(source=fitting[0], id=number)
    if slash and name not in sources:
        raise BadInput(f"there is no ticket source '{shorten(name, 40)}'", found=shorten(text, 80), allowed=allowed)
    problem = "several sources have such tickets" if fitting else "no source has tickets with such a number"
    raise BadInput(problem, found=shorten(text, 80), allowed=allowed, remedy="name the source: SOURCE/ID")


def _fits(pattern: str, number: str) -> bool:
    return re.fullmatch(pattern or ".+", number) is not None


def judge(ticket: Ticket, rules: TicketRules, hosts: Hosts, now: datetime, needed: timedelta) -> list[Finding]:
    """Every rule's finding; hosts may be changed when none blocks.

    `needed` is what one host takes, with the way back: as long before the planned end the last one starts.
    """
    return [
        _state(ticket, rules),
        _approval(ticket, rules),
        _hold(ticket, rules),
        *_time(ticket, rules, now, needed),
        *_items(ticket, hosts),
    ]


def judge_while_running(
    ticket: Ticket, rules: TicketRules, hosts: Hosts, now: datetime, needed: timedelta
) -> list[Finding]:
    """The same rules; a run that has begun is not kept from finishing by a start that was moved."""
    findings = judge(ticket, rules, hosts, now, needed)
    return [finding for finding in findings if finding.check != "ticket.begun"]


def waits_until(ticket: Ticket, findings: Collection[Finding], now: datetime) -> datetime | None:
    """When to ask the ticket again, if its planned start is the only thing in the way."""
    against = {finding.check for finding in findings if finding.blocks}
    early = ticket.planned_start is not None and ticket.planned_start > now
    return ticket.planned_start if early and against == {"ticket.begun"} else None


def fleet_names(hosts: Collection[Any], ci_label: str) -> dict[str, tuple[str, ...]]:
    """Every name by which a configuration item may mean a host, and the hosts it then means."""
    names: dict[str, tuple[str, ...]] = {}
    for host in hosts:
        for name in {host.name, host.labels.get(ci_label, "")} - {""}:
            names[name] = (*names.get(name, ()), host.name)
    return names


def _state(ticket: Ticket, rules: TicketRules) -> Finding:
    names = {ticket.state.casefold(), ticket.state_label.casefold()} - {""}

    def among(states: Collection[str]) -> bool:
        return bool(names & {state.casefold() for state in states})

    if among(rules.implement) and not among(rules.cancelled) and not among(rules.closed):
        return _fine("ticket.state", f"it is in state {ticket.state_shown}")
    what = "cancelled" if among(rules.cancelled) else "closed" if among(rules.closed) else "not being implemented"
    remedy = (
        "open a new change"
        if what != "not being implemented"
        else f"move it to {' or '.join(rules.implement)} when the work is to begin"
    )
    return _against("ticket.state", f"it is {what}: its state is {ticket.state_shown}", f"state={ticket.state}", remedy)


def _approval(ticket: Ticket, rules: TicketRules) -> Finding:
    if ticket.approved or not rules.needs_approval:
        return _fine("ticket.approved", "it is approved" if ticket.approved else "no approval is asked for")
    said = f"approval={ticket.approval or '(empty)'}"
    if ticket.approved is None:
        return _against(
            "ticket.approved",
            "its system does not say whether it is approved",
            said,
            "have it approved there, or set needs_approval: false for a process without approvals",
            Verdict.UNKNOWN,
        )
    return _against("ticket.approved", "it is not approved", said, "have it approved")


def _hold(ticket: Ticket, rules: TicketRules) -> Finding:
    held = ticket.on_hold or {ticket.state.casefold(), ticket.state_label.casefold()} & {
        state.casefold() for state in rules.on_hold
    }
    if not held:
        return _fine("ticket.hold", "it is not on hold")
    why = f": {shorten(ticket.on_hold_reason, 120)}" if ticket.on_hold_reason else ""
    return _against("ticket.hold", f"it is on hold{why}", f"on_hold={ticket.on_hold}", "take it off hold")


def _time(ticket: Ticket, rules: TicketRules, now: datetime, needed: timedelta) -> Iterator[Finding]:
    start, end = ticket.planned_start, ticket.planned_end
    said = f"planned start {_at(start)}, planned end {_at(end)}, now {_at(now)}"
    if start is None or end is None:
        if rules.needs_planned_time or start is not end:
            yield _against("ticket.planned", "its planned start or end is missing", said, "fill in both")
        return
    if end <= start:
        yield _against("ticket.planned", "its planned end is not after its planned start", said, "correct them")
        return
    if now < start:
        yield _against("ticket.begun", f"its planned start is {_at(start)}", said, "wait for it, or have it moved")
    if now >= end:
        yield _against(
            "ticket.over", f"its planned end was {_at(end)}", said, "have the end moved, or plan a new change"
        )
    elif now + needed > end:
        yield _against(
            "ticket.over",
            f"its planned end is {_at(end)}, and one host takes {words(needed)} with its way back",
            said,
            "have the end moved, or plan a new change",
        )


def _items(ticket: Ticket, hosts: Hosts) -> Iterator[Finding]:
    if not ticket.cis:
        yield _against(
            "ticket.items",
            "it names no configuration item",
            "affected items: none",
            "add the hosts to be changed to it",
        )
        return
    unknown = [ci for ci in ticket.cis if hosts.whole and ci not in hosts.fleet]
    ambiguous = [ci for ci in ticket.cis if len(set(hosts.fleet.get(ci, ()))) > 1]
    if unknown:
        yield _differs(
            "it names items that are no host of the inventory", unknown, "correct the ticket or the inventory"
        )
    if ambiguous:
        yield _differs("it names items that mean several hosts", ambiguous, "make their names unique in the inventory")
    if unknown or ambiguous:
        return
    named = {(hosts.fleet.get(ci) or (ci,))[0] for ci in ticket.cis}
    targets = set(hosts.targets)
    if targets - named:
        yield _differs(
            "the plan changes hosts that it does not name", sorted(targets - named), "add them, or narrow the plan"
        )
    if named - targets and not hosts.part:
        yield _differs(
            "it names hosts that the plan does not change", sorted(named - targets), "correct ticket or plan"
        )
    if targets == named or (hosts.part and targets <= named):
        yield _fine("ticket.items", f"its {len(named)} items are the hosts of the plan")


def _differs(reason: str, names: Collection[str], remedy: str) -> Finding:
    shown = ", ".join(shorten(name, 60) for name in list(names)[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return _against("ticket.items", f"{reason}: {shown}{more}", f"{len(names)}: {shown}{more}", remedy)


def _fine(check: str, reason: str) -> Finding:
    return Finding(check=check, verdict=Verdict.PASS, reason=reason)


def _against(check: str, reason: str, evidence: str, remedy: str, verdict: Verdict = Verdict.FAIL) -> Finding:
    return Finding(check=check, verdict=verdict, reason=reason, evidence=evidence, remedy=remedy)


def _at(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}" if at is not None else "not set"
