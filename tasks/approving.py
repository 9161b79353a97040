"""Approving and rejecting, by whichever way the word came: every refusal has its reason and is in the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.plan_drift import drift
from tasks.take_up_approved import close_waiting, take_up
from upkeep.audit.approvals import waits_for
from upkeep.audit.reading import RunDetail
from upkeep.domain.approval import Standing
from upkeep.domain.approval_rule import OVERRIDE
from upkeep.domain.change import RunOutcome
from upkeep.domain.person import Person
from upkeep.domain.record import Actor
from upkeep.errors import Refused
from upkeep.services.calendars import Calendars
from upkeep.wiring import Site

NOBODY = Actor(name="unknown")
FORM = "form"
"""The way of Prefect's resume form: the flow run that asks goes on, or ends, by itself."""


@dataclass(frozen=True)
class Word:
    """One person's word, and how it came: `via` is command, link, page or form; `subject` what was shown, if that was one thing."""

    person: Person | None
    via: str
    comment: str = ""
    subject: str = ""


def approve(site: Site, run_id: str, word: Word, now: datetime | None = None) -> str:
    """Take one approval; what is missing still, or how the run goes on.

    Raises:
        BadInput: there is no such run.
        Refused: this word does not count, for a reason that is in the history.
    """
    now = now or datetime.now(UTC)
    detail, standing, person = _judged(site, run_id, word, now)
    if why := standing.objection_to_yes(person, now):
        raise _refused(site, detail, word, why)
    if differs := drift(site, detail.record):
        _void(site, detail, standing, differs)
        raise _refused(site, detail, word, f"what was to be approved is not what the files say now: {differs}")
    valid_until = _valid_until(detail, standing, person, now)
    body = {
        "person": person.name,
        "roles": list(person.roles),
        "rules": list(standing.rules_of(person)),
        "via": word.via,
        "plan_hash": standing.plan_hash,
        "valid_until": valid_until.isoformat(),
    }
    _record(site, detail, "approval.given", word, subject=standing.subject, reason=word.comment, body=body)
    after = waits_for(site.history, detail.id) or standing
    if not after.met(now):
        return f"approved {after.subject} of run {detail.id}; still waiting: {after.told(now)}"
    how = "it goes on" if word.via == FORM else take_up(site, site.history.run(detail.id))
    return f"approved {after.subject} of run {detail.id}, and that is enough: {how}"


def reject(site: Site, run_id: str, word: Word, now: datetime | None = None) -> str:
    """End a waiting run: hosts that were changed stay as they are, no other host is touched.

    Raises:
        BadInput: there is no such run.
        Refused: this person cannot reject it, for a reason that is in the history.
    """
    detail, standing, person = _judged(site, run_id, word, now or datetime.now(UTC))
    body = {"person": person.name, "roles": list(person.roles), "via": word.via, "plan_hash": standing.plan_hash}
    _record(site, detail, "approval.rejected", word, subject=standing.subject, reason=word.comment, body=body)
    comment = f": {word.comment}" if word.comment else ""
    why = f"{person.name} rejected {standing.subject}{comment}"
    close_waiting(site, detail, RunOutcome.STOPPED, why, with_flow_run=word.via != FORM)
    return f"run {detail.id} is over; no further host is touched"


def void_if_changed(site: Site, detail: RunDetail, standing: Standing) -> str:
    """Approvals of something else than what the files say now count no more; what differs, empty when nothing does."""
    differs = drift(site, detail.record)
    if differs:
        _void(site, detail, standing, differs)
    return differs


def _judged(site: Site, run_id: str, word: Word, now: datetime) -> tuple[RunDetail, Standing, Person]:
    detail = site.history.run(run_id)
    if word.person is None:
        raise _refused(site, detail, word, "the token is nobody's, or was revoked")
    if detail.outcome is not None:
        raise _refused(site, detail, word, f"the run is over: {detail.outcome.value}")
    standing = waits_for(site.history, detail.id)
    if standing is None:
        raise _refused(site, detail, word, "the run does not wait for an approval now")
    if word.subject and word.subject != standing.subject:
        raise _refused(site, detail, word, f"this is about {word.subject}, and the run waits for {standing.subject}")
    if why := standing.objection(word.person, now):
        raise _refused(site, detail, word, why, standing.subject)
    return detail, standing, word.person


def _valid_until(detail: RunDetail, standing: Standing, person: Person, now: datetime) -> datetime:
    """A yes lapses after the rule's time, and when the window (this one, or before it opens the next one) ends."""
    lapses = now + min(standing.rules[number].expires for number in standing.rules_of(person))
    if standing.subject == OVERRIDE or detail.record.override:
        return lapses
    schedule = Calendars(detail.record.plan, Path(detail.record.plan_dir)).schedule(now)
    coming = schedule.openings(now, 1) if schedule.binds else []
    return min(lapses, coming[0].end or lapses) if coming else lapses


def _void(site: Site, detail: RunDetail, standing: Standing, differs: str) -> None:
    body = {"plan_hash": standing.plan_hash, "approvals": [approval.person for approval in standing.approvals]}
    site.history.record(detail.id, "approval.voided", stage=standing.subject, reason=differs, body=body)


def _refused(site: Site, detail: RunDetail, word: Word, why: str, subject: str = "") -> Refused:
    body = {"person": word.person.name if word.person else "", "via": word.via}
    _record(site, detail, "approval.refused", word, subject=subject or word.subject, reason=why, body=body)
    return Refused(f"not taken for run {detail.id}: {why}", remedy=f"see how it stands: upkeep status {detail.id}")


def _record(
    site: Site,
    detail: RunDetail,
    action: str,
    word: Word,
    *,
    subject: str,
    reason: str,
    body: Mapping[str, object],
) -> None:
    actor = Actor(name=word.person.name) if word.person else NOBODY
    site.history.say(detail.id, action, actor=actor, stage=subject, reason=reason, body=body)
