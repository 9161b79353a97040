"""Keeping approvals: no host of a stage is started before enough people approved it, and a waiting run holds nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.runtime import deployment

from tasks.refuse_unapprovable import is_bound
from tasks.report import report_of
from tasks.resume_form import suspend
from tasks.session import RunSession
from upkeep.audit.approvals import approval_events, standing_of
from upkeep.audit.history import History
from upkeep.domain.approval_rule import OVERRIDE, Awaited, rules_for
from upkeep.domain.change import RunOutcome
from upkeep.domain.record import RunRecord, RunReport


class ApprovalKeeper:
    """Says before every host of one run whether people have to approve its stage first."""

    def __init__(self, history: History, record: RunRecord) -> None:
        self._history, self._record = history, record
        self._bound = is_bound(record) and not record.dry_run
        self._good_until: dict[str, datetime] = {}

    def awaits(self, stage: str, place: int, now: datetime) -> Awaited | None:
        """What has to be approved before a host of this stage may start: the override first, then the stage."""
        if not self._bound:
            return None
        subjects = ([OVERRIDE] if self._record.override else []) + ([stage] if self._record.plan.approvals else [])
        wanted = (Awaited(name, rules_for(self._record.plan.approvals, name, first=place == 0)) for name in subjects)
        return next((one for one in wanted if one.rules and self._lacks(one.subject, now)), None)

    def _lacks(self, subject: str, now: datetime) -> bool:
        if now >= self._good_until.get(subject, now):
            standing = standing_of(self._history, self._record.id, subject)
            self._good_until[subject] = standing.good_until(now) if standing else now
        return now >= self._good_until[subject]


def wait_for_approval(session: RunSession, awaited: Awaited) -> RunReport:
    """Ask for the approval and end here: nothing is held, and whoever conducts the run next goes on where it stands.

    Raises:
        Pause: the flow run is suspended at its Prefect server, which starts it again when it is approved.
    """
    record, now = session.record, datetime.now(UTC)
    requests = [event for event in approval_events(session.history, record.id) if event.action == "approval.requested"]
    lapses_at = now + max(rule.expires for rule in awaited.rules)
    earlier = [datetime.fromisoformat(e.body["lapses_at"]) for e in requests if e.stage == awaited.subject]
    body = {
        "plan_hash": record.plan_hash,
        "requesters": [name for name in (record.actor.name, record.actor.on_behalf_of) if name],
        "rules": [rule.model_dump(mode="json") for rule in awaited.rules],
        "lapses_at": min((at for at in earlier if at > now), default=lapses_at).isoformat(),
    }
    reason = record.override if awaited.subject == OVERRIDE else awaited.told()
    session.history.record(record.id, "approval.requested", stage=awaited.subject, reason=reason, body=body)
    session.history.vouch(record.id, now)
    if deployment.id:
        suspend(session.history, record.id, int((lapses_at - now).total_seconds()))
    return waiting_report(session.history, record.id, awaited.told())


def waiting_report(history: History, run_id: str, told: str) -> RunReport:
    """The report of a run that waits for people: held, and how it goes on."""
    how = f"{told}; approve it with: upkeep approve {run_id}; then it goes on by itself under upkeep up, or with: upkeep resume {run_id}"
    return report_of(history.run(run_id)).model_copy(update={"outcome": RunOutcome.HELD, "reason": how})
