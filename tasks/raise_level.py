"""More of the agent's log for a time: its level raised, watched, and put back, by the host itself if need be."""

from __future__ import annotations

from datetime import timedelta

from tasks.lock_host import locked, order_of
from tasks.repair_files import filled
from tasks.session import RunSession
from upkeep.domain.change import Step
from upkeep.domain.repairs import raised_line
from upkeep.errors import BadInput
from upkeep.hosts.host_repair import HostRepair

_GRACE = timedelta(seconds=60)
"""So much later than the controller the host puts the level back by itself."""


def with_raised_level(session: RunSession, host: str) -> timedelta:
    """Raise the level, wait, put it back; how much of the log was written meanwhile, zero when it was raised already.

    Raises:
        StepFailed: it cannot be raised; or not be put back now, and then the host goes on trying.
    """
    wanted, work = session.record.plan.log_level, session.work(host)
    with locked(session, work, order_of(session), stage="") as order:
        repair = HostRepair(work.transport, work.profile, order.run, order.fence, become=True)
        with session.step(host, Step.REPAIR) as step:
            step.body["repair"] = "log level"
            path = filled(wanted.path, work.host, work.profile.vars)
            if not path:
                raise BadInput("the plan does not say where the log level stands", allowed="log_level: {path: …}")
            lines = raised_line(repair.read(path), wanted.pattern, wanted.value)
            if lines is None:
                step.reason = f"{path} holds no such line, or the level is {wanted.value} already"
                return timedelta(0)
            step.reason = repair.raise_level(path, lines, wanted.reload, wanted.lasting + _GRACE)
        session.pause(wanted.lasting.total_seconds())
        with session.step(host, Step.REPAIR) as step:
            step.body["repair"] = "log level put back"
            step.reason = repair.put_level_back(wanted.reload)
    return wanted.lasting
