"""`upkeep approve` and `reject`, and what `status` and `stop` do with a run that waits for people."""

from __future__ import annotations

import getpass
import json
import os
import sys
from datetime import UTC, datetime

from upkeep.audit.approvals import waits_for
from upkeep.audit.people import People
from upkeep.audit.reading import RunDetail
from upkeep.console.screen import screen
from upkeep.domain.approval import Standing
from upkeep.domain.change import RunOutcome
from upkeep.errors import BadInput
from upkeep.project import prefect_settings, put_on_path
from upkeep.wiring import site


def approve(run_id: str, comment: str) -> None:
    """Approve what a run waits for, as the person whose token is given.

    Raises:
        BadInput: no such run, or no token.
        Refused: this approval does not count.
    """
    _prepared()
    from tasks.approving import Word, approve  # noqa: PLC0415 - the runbooks are on the path only now

    detail = site().history.run(run_id)
    _show(detail)
    word = Word(People(site().history).by_token(_token()), "command", comment)
    screen().print(approve(site(), detail.id, word), markup=False, soft_wrap=True)


def reject(run_id: str, comment: str) -> None:
    """Reject what a run waits for, which ends it.

    Raises:
        BadInput: no such run, or no token.
        Refused: this person cannot reject it.
    """
    _prepared()
    from tasks.approving import Word, reject  # noqa: PLC0415 - the runbooks are on the path only now

    detail = site().history.run(run_id)
    word = Word(People(site().history).by_token(_token()), "command", comment)
    screen().print(reject(site(), detail.id, word), markup=False, soft_wrap=True)


def show_waiting(detail: RunDetail, standing: Standing, *, as_json: bool) -> int:
    """How a waiting run stands; always 0, because the question was answered."""
    put_on_path()
    from tasks.keep_approvals import waiting_report  # noqa: PLC0415 - the runbooks are on the path only now

    now = datetime.now(UTC)
    told = f"waits for the approval of {standing.subject}: {standing.told(now)}"
    if as_json:
        document = waiting_report(site().history, detail.id, told).model_dump(mode="json") | {"ended_at": None}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 0
    _show(detail)
    met = standing.met(now)
    then = (
        f"go on with upkeep resume {detail.id}" if met else f"upkeep approve {detail.id}, or upkeep reject {detail.id}"
    )
    screen().print(f"→ {then}", markup=False, soft_wrap=True)
    return 0


def stop_waiting(detail: RunDetail, reason: str) -> str:
    """End a run that waits; nothing is in work."""
    _prepared()
    from tasks.take_up_approved import close_waiting  # noqa: PLC0415 - the runbooks are on the path only now

    why = f"{getpass.getuser()} stopped it: {reason}" if reason else f"{getpass.getuser()} stopped it"
    close_waiting(site(), detail, RunOutcome.STOPPED, why)
    return f"run {detail.id} is over; no further host is touched"


def _show(detail: RunDetail) -> None:
    """What is to be approved, before anybody says yes to it."""
    record, standing = detail.record, waits_for(site().history, detail.id)
    version = f"{record.release.product} {record.release.version}" if record.release else record.plan.release
    lines = [
        f"run {detail.id}: {detail.runbook} of plan '{record.plan.name}' to {version}, {len(record.targets)} hosts"
    ]
    lines.append(
        f"asked for by {detail.actor}{f': {record.reason}' if record.reason else ''}; plan hash {record.plan_hash[:16]}"
    )
    if standing is not None:
        lines.append(f"waits for the approval of {standing.subject}: {standing.told(datetime.now(UTC))}")
        lines.append(f"lapses {standing.lapses_at:%Y-%m-%d %H:%M} UTC")
        lines += [f"approvals were voided: {standing.voided}"] if standing.voided else []
    for line in lines:
        screen().print(line, markup=False, soft_wrap=True)


def _token() -> str:
    """The token, from where nobody else reads it: the environment, a prompt that shows nothing, or standard input.

    Raises:
        BadInput: there is none.
    """
    token = os.environ.get("UPKEEP_TOKEN", "")
    if not token:
        token = getpass.getpass("token: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not token.strip():
        raise BadInput(
            "no token was given", allowed="UPKEEP_TOKEN, or the token on standard input", remedy="upkeep people add"
        )
    return token.strip()


def _prepared() -> None:
    prefect_settings(quiet=True)
    put_on_path()
