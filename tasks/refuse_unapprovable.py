"""Whether a run needs approvals at all, and what keeps it from getting any. Needs no Prefect: who is refused need not wait for it."""

from __future__ import annotations

from tasks.keep_windows import BOUND
from upkeep.domain.record import RunRecord, RunRequest
from upkeep.errors import BadInput


def is_bound(record: RunRecord) -> bool:
    """Whether the run changes hosts in a way that people approve."""
    changes = record.plan.repairs.apply or bool(record.plan.log_level.lasting)
    return record.runbook in BOUND or (record.runbook == "connection_diagnosis" and changes)


def refuse_unapprovable(record: RunRecord, request: RunRequest) -> None:
    """An approval by somebody other than the requester needs to know who that is; an override needs a reason.

    Raises:
        BadInput: nobody or no reason was named.
    """
    if request.override_window and not request.reason.strip():
        raise BadInput(
            "a window is overridden only with a reason", remedy="give --reason TEXT, which is kept in the history"
        )
    asked_for = record.override or record.plan.approvals
    if asked_for and is_bound(record) and request.source == "ui" and not request.requested_by:
        raise BadInput(
            "this run needs approvals, and nobody is named who asks for it",
            remedy="fill in 'Requested by': whoever asks for a run does not approve it",
        )
