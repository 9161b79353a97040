"""How the approvals of a run stand: each bound to one run, one stage and the hash of the plan, read from the run's events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from upkeep.domain.approval_rule import ApprovalRule
from upkeep.domain.person import Person
from upkeep.domain.record import Event


@dataclass(frozen=True)
class Approval:
    """One yes."""

    person: str
    rules: tuple[int, ...]
    given_at: datetime
    valid_until: datetime
    comment: str = ""


@dataclass(frozen=True)
class Standing:
    """How the approval of one stage (or override) of one run stands, read from the run's events."""

    subject: str
    rules: tuple[ApprovalRule, ...]
    plan_hash: str
    requesters: tuple[str, ...]
    requested_at: datetime
    lapses_at: datetime
    approvals: tuple[Approval, ...] = ()
    waiting: bool = True
    voided: str = ""

    def valid(self, now: datetime) -> tuple[Approval, ...]:
        """The approvals that still count."""
        return tuple(approval for approval in self.approvals if now < approval.valid_until)

    def met(self, now: datetime) -> bool:
        """Whether every rule has as many different people as it needs; nobody counts for two rules at once."""
        return len(_seats(self.rules, self.valid(now))) == sum(rule.needed for rule in self.rules)

    def good_until(self, now: datetime) -> datetime:
        """Until when it stays met, if nobody adds a yes; `now` when it is not met."""
        return min((a.valid_until for a in self.valid(now)), default=now) if self.met(now) else now

    def told(self, now: datetime) -> str:
        """What is there and what is missing, in words."""
        valid = self.valid(now)
        given = (
            f"{len(valid)} given by {', '.join(approval.person for approval in valid)}" if valid else "none given yet"
        )
        return f"{' and '.join(rule.told() for rule in self.rules)}; {given}"

    def objection(self, person: Person, now: datetime) -> str:
        """Why this person can neither approve nor reject now; empty when they can."""
        if not self.waiting:
            return "the run does not wait for an approval now"
        if now >= self.lapses_at:
            return f"the request for approval lapsed on {self.lapses_at:%Y-%m-%d %H:%M} UTC"
        if any(person.is_called(name) for name in self.requesters):
            return f"{person.name} asked for this run, and whoever asks for a run does not approve it"
        if not any(rule.counts(person) for rule in self.rules):
            wanted = " and ".join(rule.told() for rule in self.rules)
            return f"{person.name} is {', '.join(person.roles)}; this needs {wanted}"
        return ""

    def objection_to_yes(self, person: Person, now: datetime) -> str:
        """Why this person's approval cannot be taken now; empty when it can."""
        if any(approval.person == person.name for approval in self.valid(now)):
            return f"{person.name} has approved this already, and everybody counts once"
        return self.objection(person, now)

    def rules_of(self, person: Person) -> tuple[int, ...]:
        """Which rules this person's yes may count for."""
        return tuple(number for number, rule in enumerate(self.rules) if rule.counts(person))


def _seats(rules: Sequence[ApprovalRule], approvals: Iterable[Approval]) -> dict[tuple[int, int], Approval]:
    """Seats of rules taken by people, as many as can be at once (augmenting paths): one person never sits twice."""
    taken: dict[tuple[int, int], Approval] = {}

    def seat(approval: Approval, tried: set[tuple[int, int]]) -> bool:
        for place in ((number, place) for number in approval.rules for place in range(rules[number].needed)):
            if place in tried:
                continue
            tried.add(place)
            if place not in taken or seat(taken[place], tried):
                taken[place] = approval
                return True
        return False

    for approval in {approval.person: approval for approval in approvals}.values():
        seat(approval, set())
    return taken


def standings(events: Iterable[Event]) -> dict[str, Standing]:
    """How every approval that a run ever asked for stands; the one it waits for now has `waiting`."""
    found: dict[str, Standing] = {}
    for event in events:
        if event.action == "approval.requested":
            found = {subject: replace(standing, waiting=False) for subject, standing in found.items()}
            found[event.stage] = _requested(event, found.get(event.stage))
        elif event.action in {"run.resumed", "run.closed"}:
            found = {subject: replace(standing, waiting=False) for subject, standing in found.items()}
        elif event.action == "approval.given" and event.stage in found:
            standing = found[event.stage]
            found[event.stage] = replace(standing, approvals=(*standing.approvals, _given(event)))
        elif event.action == "approval.voided" and event.stage in found:
            found[event.stage] = replace(found[event.stage], approvals=(), voided=event.reason)
    return found


def waited_for(events: Iterable[Event]) -> Standing | None:
    """What a run waits for; None when it does not wait for people."""
    return next((standing for standing in standings(events).values() if standing.waiting), None)


def _requested(event: Event, before: Standing | None) -> Standing:
    body = event.body
    return Standing(
        subject=event.stage,
        rules=tuple(ApprovalRule.model_validate(rule) for rule in body["rules"]),
        plan_hash=body["plan_hash"],
        requesters=tuple(body["requesters"]),
        requested_at=event.at,
        lapses_at=datetime.fromisoformat(body["lapses_at"]),
        approvals=before.approvals if before else (),
    )


def _given(event: Event) -> Approval:
    return Approval(
        person=event.body["person"],
        rules=tuple(event.body["rules"]),
        given_at=event.at,
        valid_until=datetime.fromisoformat(event.body["valid_until"]),
        comment=event.reason,
    )
