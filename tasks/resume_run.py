"""Going on with a run whose controller died: from what its history and its hosts say, never from what was in memory."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime

from tasks.approving import void_if_changed
from tasks.keep_windows import WindowKeeper
from tasks.prepare_run import prepare_again
from tasks.resume_form import suspend, take_form
from tasks.session import RunSession
from tasks.shards import settle_orders
from tasks.vouching import LEASE
from upkeep.audit.approvals import waits_for
from upkeep.audit.reading import RunDetail
from upkeep.domain.interruption import interrupted
from upkeep.domain.record import Actor, RunRequest
from upkeep.errors import Refused
from upkeep.process import lives, this_process
from upkeep.wiring import Site


def run_to_resume(site: Site, request: RunRequest, flow_run_id: str) -> RunDetail | None:
    """The run to go on with: the one that was named, or the one this flow run conducted before it was interrupted.

    Raises:
        BadInput: there is no such run.
        Refused: it is over, or its controller still lives.
    """
    detail = site.history.run(request.resume) if request.resume else None
    if detail is None and flow_run_id:
        detail = site.history.run_of_flow(flow_run_id)
    if detail is not None:
        refuse_unless_dead(detail)
    return detail


def refuse_unless_dead(detail: RunDetail) -> None:
    """Two controllers must never conduct one run.

    Raises:
        Refused: the run is over, or its controller lives or may live.
    """
    if detail.outcome is not None:
        raise Refused(
            f"run {detail.id} is over: {detail.outcome.value}", remedy=f"upkeep retry {detail.id} finishes what it left"
        )
    if lives(detail.process):
        raise Refused(
            f"run {detail.id} is being conducted by a living process ({detail.process})",
            remedy=f"watch it with upkeep status {detail.id}, or stop it with upkeep stop {detail.id}",
        )
    if is_conducted(detail):
        raise Refused(
            f"run {detail.id} is conducted from another machine ({detail.process.partition(':')[0]}), which vouched for it "
            f"until {_vouched_until(detail):%H:%M:%S} UTC",
            remedy="resume there, or wait until then",
        )


def is_conducted(detail: RunDetail) -> bool:
    """Whether somebody works on the run: its process lives, or, on another machine, vouched for it not long ago."""
    alive = lives(detail.process)
    return _vouched_until(detail) > datetime.now(UTC) if alive is None else alive


def _vouched_until(detail: RunDetail) -> datetime:
    return detail.lease_until or detail.started_at + LEASE


def resume_session(site: Site, detail: RunDetail, request: RunRequest, flow_run_id: str) -> RunSession:
    """Take the run over and hand out what its steps share.

    Raises:
        BadInput, Refused: its release, archives or keys cannot be had any more, or it waits for people.
        Pause: it was resumed in Prefect, by somebody whose word is not enough; it goes on waiting there.
    """
    if take_form(site, detail, flow_run_id):
        detail = _after_form(site, detail.id)
    reason = _refuse_unapproved(site, detail) or request.reason or "its controller died"
    settle_orders(site.history, detail.id)
    detail = site.history.run(detail.id)
    prepared = prepare_again(site, detail)
    name, first = request.requested_by or getpass.getuser(), detail.record.actor.name
    actor = Actor(name=name, on_behalf_of=first if first != name else "")
    site.history.resume_run(detail.id, actor, this_process(), flow_run_id=flow_run_id, reason=reason)
    known = {name: host.result() for name, host in detail.hosts.items() if host.outcome is not None}
    left = interrupted(site.history.events(detail.id))
    return RunSession(site, prepared.record, prepared.targets, prepared.archives, known=known, left=left, resumed=True)


def _after_form(site: Site, run_id: str) -> RunDetail:
    """The run after a word was taken by Prefect's form.

    Raises:
        Refused: it was rejected. Pause: more people have to approve.
    """
    detail, now = site.history.run(run_id), datetime.now(UTC)
    if detail.outcome is not None:
        raise Refused(f"run {run_id} is over: {detail.outcome.value}: {detail.reason}")
    standing = waits_for(site.history, run_id)
    if standing is not None and not standing.met(now) and now < standing.lapses_at:
        suspend(site.history, run_id, int((standing.lapses_at - now).total_seconds()))
    return detail


def _refuse_unapproved(site: Site, detail: RunDetail) -> str:
    """Why a run that waited goes on: it is approved, of exactly what its files say now, and its window is open; empty when it did not wait.

    Raises:
        Refused: it goes on waiting.
    """
    standing, now = waits_for(site.history, detail.id), datetime.now(UTC)
    if standing is None:
        return ""
    look = f"see how it stands: upkeep status {detail.id}"
    if not standing.met(now):
        raise Refused(
            f"run {detail.id} waits for the approval of {standing.subject}: {standing.told(now)}", remedy=look
        )
    if differs := void_if_changed(site, detail, standing):
        raise Refused(
            f"run {detail.id} was approved, and its files say something else since then, so that the approval is void: {differs}",
            remedy="put the files back and approve again, or stop the run and start a new one",
        )
    if why := WindowKeeper(site.history, detail.record).may_start(now):
        raise Refused(f"run {detail.id} is approved and goes on waiting: {why}", remedy=look)
    return f"{standing.subject} is approved: {standing.told(now)}"
