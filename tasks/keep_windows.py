"""Keeping maintenance windows: at the start of a run that changes hosts, and before every host."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from upkeep.audit.history import History
from upkeep.domain.host_time import HostTime, host_time
from upkeep.domain.plan import Plan
from upkeep.domain.record import RunRecord
from upkeep.errors import Refused
from upkeep.services.calendars import Calendars
from upkeep.wiring import Site

BOUND = frozenset({"maintenance", "staged_upgrade"})
"""Runbooks that windows and freezes bind. A rollback is not: the way back must not wait for a calendar (ADR 9)."""

PRESTAGE = "prestage"
"""Bound as well, unless the plan lets archives come at any time; freezes bind it even then."""

_MEASURED_EVERY = timedelta(minutes=5)


class WindowKeeper:
    """Says before every host of one run whether it may start."""

    def __init__(self, history: History, record: RunRecord) -> None:
        self._history, self._record = history, record
        self._bound = record.runbook in BOUND | {PRESTAGE} and not record.dry_run and not record.override
        self._calendars = Calendars(_plan_that_binds(record), Path(record.plan_dir))
        self._time: tuple[datetime, HostTime] | None = None

    def may_start(self, now: datetime) -> str:
        """Why no host may start now; empty when one may."""
        if not self._bound:
            return ""
        schedule = self._calendars.schedule(now)
        if not schedule.binds:
            return ""
        if self._record.runbook == PRESTAGE:
            return schedule.refusal(now, self._record.plan.delivery.timeout)
        time = self._host_time(now)
        return schedule.refusal(now, time.change, time.rollback)

    def _host_time(self, now: datetime) -> HostTime:
        """Measured again now and then: the run's own hosts are the best measure of those to come."""
        if self._time is None or now - self._time[0] >= _MEASURED_EVERY:
            self._time = (now, measured_host_time(self._history, self._record))
        return self._time[1]


def _plan_that_binds(record: RunRecord) -> Plan:
    any_time = record.runbook == PRESTAGE and record.plan.delivery.prestage == "any time"
    return record.plan.model_copy(update={"window": ()}) if any_time else record.plan


def measured_host_time(history: History, record: RunRecord) -> HostTime:
    """What a host of this run takes, from the history of these hosts."""
    hosts = {host.name for host in record.targets}
    times = history.step_times(BOUND, hosts)
    return host_time(record.plan, record.profile, times.changes, times.rollbacks)


def refuse_outside_window(site: Site, record: RunRecord, now: datetime | None = None) -> None:
    """A run that changes hosts begins only while its first host may start, or waits for the approval of its override.

    Raises:
        Refused: closed, frozen, a calendar that cannot be read, or too late.
    """
    if record.runbook not in BOUND | {PRESTAGE} or record.dry_run:
        return
    why = WindowKeeper(site.history, record).may_start(now or datetime.now(UTC))
    if why and record.runbook == PRESTAGE:
        remedy = "wait for the window, or let the plan say delivery.prestage: any time (a freeze binds all the same)"
        raise Refused(why, remedy=remedy)
    if why:
        raise Refused(
            why,
            remedy="wait for the window (upkeep windows PLAN), or ask a second person: --override-window --reason TEXT",
        )
