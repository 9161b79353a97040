"""What people are told about a run, from the events of the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from upkeep.domain.approval_rule import OVERRIDE
from upkeep.domain.record import Event

INSPECTED = "inspected: "
"""How the reason of an inspection's end begins."""


@dataclass(frozen=True)
class Notice:
    """One thing to tell; `once` is what it is told once for."""

    kind: str
    once: str
    title: str
    text: str


def notice_of(event: Event, subject: str) -> Notice | None:
    """What an event means to people; `subject` names the run as they know it. None: nothing they are told about."""
    told = _TOLD.get(event.action)
    return told(event, subject) if told else None


def _waiting(event: Event, subject: str) -> Notice:
    what = f"the {event.stage}" if event.stage == OVERRIDE else f"stage '{event.stage}'"
    return _notice(event, "waiting for approval", f"{subject} waits for the approval of {what}", once=str(event.seq))


def _stopped(event: Event, subject: str) -> Notice | None:
    kind = {"quarantine": "quarantined", "window": "missed window"}.get(event.body.get("kind", ""))
    return _notice(event, kind, f"{subject} was stopped: {kind}") if kind else None


def _missed(event: Event, subject: str) -> Notice:
    return _notice(event, "missed window", f"{subject} missed its start")


def _found(event: Event, _subject: str) -> Notice:
    product, version = event.body.get("product", "agent"), event.body.get("version", "")
    return _notice(event, "new release", f"{product} {version} is out, and a plan for it waits to be read")


def _not_trusted(event: Event, _subject: str) -> Notice:
    title = f"a release {event.body.get('version', '')} was offered and refused"
    return _notice(event, "release refused", title, once=str(event.seq))


def _unreadable(event: Event, _subject: str) -> Notice:
    title = f"{PurePath(event.body.get('plan', 'a plan')).name} cannot be read and does not start by itself"
    return _notice(event, "plan unreadable", title, once=str(event.seq))


def _closed(event: Event, subject: str) -> Notice | None:
    outcome = event.body["outcome"]
    if event.reason.startswith(INSPECTED):
        return None  # what changed was told already, and nothing is no news
    return _notice(event, "held" if outcome == "held" else "finished", f"{subject}: {outcome}")


def _stage(event: Event, subject: str) -> Notice | None:
    if event.body.get("verdict") != "go":
        return None
    return _notice(event, "stage done", f"{subject}: stage '{event.stage}' is done", once=event.stage)


def _host(event: Event, subject: str) -> Notice | None:
    """The first host that went back stands for all of its run; the rest is in the report."""
    if event.body.get("outcome") != "rolled back":
        return None
    return _notice(event, "rolled back", f"{subject}: {event.host} went back to the version it had")


def _inspected(event: Event, subject: str) -> Notice | None:
    """An alert only on change: what was bad last time and still is wakes nobody up."""
    if not event.body.get("changed"):
        return None
    return _notice(event, "health changed", f"{subject}: {event.body['words']}")


def _notice(event: Event, kind: str, title: str, *, once: str = "") -> Notice:
    return Notice(kind, f"{event.run}:{kind}:{once}", title, event.reason)


_TOLD: dict[str, Callable[[Event, str], Notice | None]] = {
    "approval.requested": _waiting,
    "stage.closed": _stage,
    "host.result": _host,
    "run.stopped": _stopped,
    "run.missed": _missed,
    "run.closed": _closed,
    "inspection.concluded": _inspected,
    "release.found": _found,
    "release.refused": _not_trusted,
    "schedule.unreadable": _unreadable,
}
ACTIONS = tuple(_TOLD)
"""Events of the history that people may be told about."""
WITHOUT_RUN = frozenset({"run.missed", "release.found", "release.refused", "schedule.unreadable"})
"""Of these: what is about no run; `event.run` is only a name to find them by."""
