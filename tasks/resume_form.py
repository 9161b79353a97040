"""The form Prefect shows where a run that waits is resumed: a word by the code of somebody's own link.

What is typed into such a form lies in Prefect's database. So it takes no token, but a code that is good for one person, one run and one
stage, and for nobody once it was used; and what was typed is taken out again before it is looked at.
"""

from __future__ import annotations

import json
import logging
from typing import Literal
from uuid import UUID

import httpx
from prefect import suspend_flow_run
from prefect.client.orchestration import get_client
from prefect.exceptions import MissingContextError, PrefectException
from prefect.input import RunInput
from prefect.logging import get_run_logger
from pydantic import Field, ValidationError

from tasks.approving import Word, approve, reject
from upkeep.audit.approval_links import ApprovalLinks
from upkeep.audit.approvals import approval_events
from upkeep.audit.history import History
from upkeep.audit.reading import RunDetail
from upkeep.errors import Refused
from upkeep.wiring import Site

log = logging.getLogger(__name__)


class Approval(RunInput):
    """What somebody types who resumes a waiting run in Prefect."""

    code: str = Field(
        "",
        title="Your link, or its code",
        description="From the message that asks you. Never your token: Prefect keeps what is typed into its forms",
        max_length=4000,
    )
    decision: Literal["approve", "reject"] = Field(
        "approve", title="Decision", description="Reject ends the run; changed hosts stay as they are"
    )
    comment: str = Field("", title="Comment", description="Kept in the history with the decision", max_length=400)


def suspend(history: History, run: str, seconds: int) -> None:
    """End here until somebody resumes the flow run, or it is started again because enough people approved.

    Raises:
        Pause: always, where the flow run has a deployment.
    """
    suspend_flow_run(wait_for_input=Approval, key=f"approval-{len(approval_events(history, run))}", timeout=seconds)


def take_form(site: Site, detail: RunDetail, flow_run_id: str) -> bool:
    """Take the word that was typed where this flow run was resumed; whether there was one. What came of it is in the flow run's log."""
    form = _typed(flow_run_id) if flow_run_id and flow_run_id == detail.flow_run_id else None
    if form is None:
        return False
    word = _word(site, detail, form)
    try:
        _say((approve if form.decision == "approve" else reject)(site, detail.id, word))
    except Refused as error:
        _say(f"the run goes on waiting: {error}")
    return True


def _say(text: str) -> None:
    """Where whoever typed looks next: the flow run's own log in the Prefect UI."""
    try:
        get_run_logger().warning(text)
    except MissingContextError:
        log.warning(text)


def _word(site: Site, detail: RunDetail, form: Approval) -> Word:
    """Whose word it is; nobody's where this controller did not make the code, or made it for another run."""
    try:
        invitation = ApprovalLinks(site.settings.keys).read(form.code.strip().rpartition("code=")[2])
    except Refused:
        return Word(None, "form", form.comment.strip())
    person = site.people.by_name(invitation.person) if invitation.run == detail.id else None
    return Word(person, "form", form.comment.strip(), invitation.subject)


def _typed(flow_run_id: str) -> Approval | None:
    """What was typed at the newest pause, taken out of Prefect's database; None where nothing was."""
    try:
        with get_client(sync_client=True) as client:
            states = client.read_flow_run_states(UUID(flow_run_id))
            asked = [state.state_details.run_input_keyset for state in states if state.is_paused()]
            if not asked or not asked[-1]:
                return None
            answer = asked[-1]["response"]
            text = client.read_flow_run_input(UUID(flow_run_id), answer)
            client.delete_flow_run_input(UUID(flow_run_id), answer)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            log.warning("the resume form of flow run %s could not be read: %s", flow_run_id, error)
        return None
    except (PrefectException, httpx.HTTPError) as error:
        log.warning("the resume form of flow run %s could not be read: %s", flow_run_id, error)
        return None
    try:
        return Approval.model_validate(json.loads(text))
    except (ValidationError, ValueError):
        return None
