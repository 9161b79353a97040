"""The run engine: decides what happens next, and does nothing itself.

A pure state machine. `orders(now)` says what to do, `apply(event, now)` takes in what came of it; clock, transport and store
are the caller's. The same code runs in Prefect, in a simulator and under property tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from upkeep.domain.approval_rule import Awaited
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.facts import HostFacts
from upkeep.domain.failure import FailureClass
from upkeep.domain.gate import Decision, Judgement, judge_stage
from upkeep.domain.inventory import Host
from upkeep.domain.orders import Change, Changed, Check, Checked, Event, Look, Looked, Order, StopAsked, Undo
from upkeep.domain.plan import Plan
from upkeep.domain.soaking import Watch
from upkeep.domain.stages import Candidate, PlannedStage, StagePlan, plan_stages
from upkeep.domain.stopping import Stop, StopKind, down_allowed, is_quarantined, run_outcome, stop_for_failures


class Phase(StrEnum):
    """Where a run is."""

    CHECKING = "checking"
    CHANGING = "changing"
    SOAKING = "soaking"
    UNDOING = "undoing"
    LAST_LOOK = "last look"
    FINISHED = "finished"


class LastLook(StrEnum):
    """How far the look at every changed host is that ends a run."""

    NOT_YET = "not yet"
    ORDERED = "ordered"
    DONE = "done"


@dataclass(frozen=True)
class StageVerdict:
    """What was decided about a stage, for the history."""

    stage: str
    decision: Decision
    reason: str


@dataclass(frozen=True)
class Interrupted:
    """How far a run had come when its controller died, as its history and its hosts tell.

    `begun` had a turn without a result; `undoing` were being put back; `down` were found down before the first change.
    """

    stage_plan: StagePlan
    results: Mapping[str, HostResult]
    verdicts: tuple[StageVerdict, ...] = ()
    begun: tuple[str, ...] = ()
    undoing: tuple[Undo, ...] = ()
    down: tuple[str, ...] = ()
    stop: Stop | None = None


MayStart = Callable[[datetime], str]
"""Why no new host may be started now; empty when one may."""


LAST_LOOK = "last look"
"""What stands for a stage in the look that ends a run."""


Awaits = Callable[[str, int, datetime], Awaited | None]
"""What people have to approve before hosts of this stage (its name and place, from 0) are started; None when nothing is missing."""


def by_nobody(_stage: str, _place: int, _now: datetime) -> None:
    """Nobody has to approve anything."""


def at_any_time(_now: datetime) -> str:
    """Nothing is against a new host."""
    return ""


class Engine:
    """One run of one plan over its targets.

    No host is ordered twice at once, no more hosts are in work than the down-budget leaves, and nothing but undoing is
    ordered after a stop. `may_start` is asked right before new hosts are ordered; its refusal stops the run. `awaits` is asked
    before that: while people have to approve, no host is started, and `waits_for` says what they have to approve.
    """

    def __init__(
        self,
        plan: Plan,
        hosts: Iterable[Host],
        *,
        fleet_size: int | None = None,
        dry_run: bool = False,
        may_start: MayStart = at_any_time,
        awaits: Awaits = by_nobody,
        last_look: bool = True,
    ) -> None:
        self.plan = plan
        self.hosts = {host.name: host for host in hosts}
        self.dry_run = dry_run
        self.may_start, self.awaits = may_start, awaits
        self.waits_for: Awaited | None = None
        self.phase = Phase.CHECKING
        self.results: dict[str, HostResult] = {}
        self.facts: dict[str, HostFacts] = {}
        self.stage_plan = StagePlan(stages=())
        self.verdicts: list[StageVerdict] = []
        self.outcome: RunOutcome | None = None
        self.reason = ""
        self.stop: Stop | None = None
        self.fleet_size = fleet_size or len(self.hosts)
        self._unchecked = set(self.hosts)
        self._waiting = sorted(self.hosts)
        self._in_work: set[str] = set()
        self._down: set[str] = set()
        self._undo: list[Undo] = []
        self._begun: list[str] = []
        self._stage_index = 0
        self._soak = Watch()
        self._last_look = LastLook.NOT_YET if last_look else LastLook.DONE

    @classmethod
    def resumed(
        cls,
        plan: Plan,
        hosts: Iterable[Host],
        left: Interrupted,
        *,
        now: datetime,
        fleet_size: int | None = None,
        may_start: MayStart = at_any_time,
        awaits: Awaits = by_nobody,
        last_look: bool = True,
    ) -> Engine:
        """A run that goes on after its controller died: the hosts in work then come first, whatever else stops.

        A stage that was being watched is watched anew for its whole soak time.
        """
        engine = cls(plan, hosts, fleet_size=fleet_size, may_start=may_start, awaits=awaits, last_look=last_look)
        engine.stage_plan, engine.results, engine.stop = left.stage_plan, dict(left.results), left.stop
        engine.verdicts, engine._down = list(left.verdicts), set(left.down)
        engine._unchecked, engine._stage_index = set(), sum(v.decision is Decision.GO for v in left.verdicts)
        engine._open_stage()
        engine._begun, engine._undo = sorted(left.begun), list(left.undoing)
        engine._in_work = set(engine._begun)
        engine._waiting = [n for n in engine._waiting if n not in engine.results and n not in engine._in_work]
        engine._stop_unless_within_limits()
        engine._settle(now)
        return engine

    @property
    def stage(self) -> PlannedStage | None:
        """The stage in work."""
        stages = self.stage_plan.stages
        return stages[self._stage_index] if self._stage_index < len(stages) else None

    def approval_missing(self, now: datetime) -> Awaited | None:
        """What people have to approve before hosts of the stage in work are started; None when nothing is missing."""
        return self.awaits(self.stage.name, self._stage_index, now) if self.stage else None

    @property
    def finished(self) -> bool:
        """Whether the run is over; `outcome` and `reason` say how."""
        return self.phase is Phase.FINISHED

    @property
    def in_work(self) -> frozenset[str]:
        """Hosts being changed or undone now."""
        return frozenset(self._in_work)

    @property
    def sick(self) -> frozenset[str]:
        """Hosts that use up the down-budget without being in work: found down, set aside, or quarantined by this run."""
        broken = {n for n, r in self.results.items() if r.outcome is HostOutcome.SET_ASIDE or is_quarantined(r)}
        well = {n for n, r in self.results.items() if r.outcome is HostOutcome.COMMITTED}
        return frozenset((self._down - well) | broken) - self._in_work

    @property
    def down_allowed(self) -> int:
        """Hosts that may be down at once, sick ones included."""
        return down_allowed(self.fleet_size, self.plan.down_budget_pct)

    def orders(self, now: datetime) -> list[Order]:
        """What to do now; each order is given once. Empty while the engine waits for answers or for `wake_at`."""
        if self.phase is Phase.CHECKING:
            checks: list[Order] = [Check(name) for name in self._waiting]
            self._waiting = []
            return checks
        orders: list[Order] = self._urgent()
        if self.phase is Phase.CHANGING and self.stop is None:
            return orders + self._start_hosts(now)
        if self.phase is Phase.SOAKING and self.stage is not None and self._soak.due(now, self.stage, self.plan):
            self._soak.looking = True
            orders.append(Look(self.stage.name, self._committed(self.stage.hosts)))
        if self.phase is Phase.LAST_LOOK and self._last_look is LastLook.NOT_YET:
            self._last_look = LastLook.ORDERED
            orders.append(Look(LAST_LOOK, self._committed(self.hosts)))
        return orders

    def _urgent(self) -> list[Order]:
        """What is ordered whatever stops: hosts a dead controller left in work, and hosts to be put back."""
        name = self.stage.name if self.stage else ""
        orders: list[Order] = [Change(host, name) for host in self._begun]
        self._begun = []
        return orders + self._undo_within_budget()

    def _undo_within_budget(self) -> list[Undo]:
        """Hosts that are worse first; hosts that are well go back within the down-budget, one at a time when it is spent."""
        turns = sorted(self._undo, key=lambda undo: undo.failure_class is None)
        down = self.sick | {undo.host for undo in turns if undo.failure_class is not None}
        given: list[Undo] = []
        for undo in turns:
            in_work = {*self._in_work, undo.host}
            within = undo.host in down or len(in_work | down) <= self.down_allowed
            if self._in_work and not (within and len(in_work) <= self.plan.at_once):
                break
            self._in_work.add(undo.host)
            given.append(undo)
        self._undo = turns[len(given) :]
        return given

    def wake_at(self) -> datetime | None:
        """When to ask for orders again if nothing answers before; None when only answers matter."""
        if self.phase is not Phase.SOAKING or self.stage is None or self._soak.looking:
            return None
        return self._soak.next_look(self.stage, self.plan)

    def apply(self, event: Event, now: datetime) -> None:
        """Take in what happened."""
        if isinstance(event, Checked):
            self._take_checked(event)
        elif isinstance(event, Changed):
            self._in_work.discard(event.host)
            self.results[event.host] = event.result
            self._down.discard(event.host)
            self._stop_unless_within_limits()
            self._settle(now)
        elif isinstance(event, Looked) and event.stage == LAST_LOOK:
            self._take_last_look(event, now)
        elif isinstance(event, Looked):
            self._take_looked(event, now)
        elif isinstance(event, StopAsked):
            if self.phase is Phase.LAST_LOOK:
                self._last_look = LastLook.DONE
            else:
                self._halt(Stop(StopKind.ASKED, event.reason))
            self._settle(now)

    def _take_checked(self, event: Checked) -> None:
        self._unchecked.discard(event.host)
        if event.facts is not None:
            self.facts[event.host] = event.facts
        if event.down:
            self._down.add(event.host)
        if event.result is not None:
            self.results[event.host] = event.result
        if not self._unchecked and self.phase is Phase.CHECKING:
            self._plan_stages()

    def _plan_stages(self) -> None:
        changeable = [
            Candidate(host, self.facts.get(name, HostFacts()).cohort(host.labels.get(self.plan.spread_by, "")))
            for name, host in self.hosts.items()
            if name not in self.results
        ]
        if changeable:
            self.stage_plan = plan_stages(self.plan, changeable)
        self._stop_unless_within_limits()
        if self.stop or self.dry_run or not changeable:
            self._finish()
        else:
            self._open_stage()

    def _open_stage(self) -> None:
        self.phase = Phase.CHANGING
        self._waiting = list(self.stage.hosts) if self.stage else []

    def _start_hosts(self, now: datetime) -> list[Order]:
        stage = self.stage
        if stage is None:
            return []
        starting = self._within_budget(self._waiting)
        self.waits_for = self.approval_missing(now) if starting else None
        if self.waits_for:
            return []
        if starting and (why := self.may_start(now)):
            self._halt(Stop(StopKind.WINDOW, why))
            self._settle(now)
            return self.orders(now)
        self._waiting = [name for name in self._waiting if name not in starting]
        if self._waiting and not starting and not self._in_work:
            self._halt(Stop(StopKind.HOLD, self._budget_reason()))
            self._settle(now)
            return self.orders(now)
        self._in_work.update(starting)
        return [Change(name, stage.name) for name in starting]

    def _within_budget(self, waiting: Sequence[str]) -> list[str]:
        starting: list[str] = []
        sick = self.sick
        for name in waiting:
            in_work = {*self._in_work, *starting, name}
            if len(in_work) > self.plan.at_once or len(in_work | sick) > self.down_allowed:
                break
            starting.append(name)
        return starting

    def _budget_reason(self) -> str:
        sick = sorted(self.sick)
        return (
            f"{len(sick)} of {self.fleet_size} hosts are down or set aside ({', '.join(sick[:8])}) and at most "
            f"{self.down_allowed} may be down at once (down_budget_pct: {self.plan.down_budget_pct:g}), so no further host is "
            "started; heal them, leave them out of targets, or raise down_budget_pct"
        )

    def _settle(self, now: datetime) -> None:
        """Move on when nothing is in work any more."""
        if self._in_work or self._undo or self.phase in {Phase.CHECKING, Phase.FINISHED}:
            return
        stage = self.stage
        if self.phase is Phase.LAST_LOOK:
            self._end_last_look()
        elif self.phase is Phase.UNDOING or stage is None:
            self._look_a_last_time()
        elif self.stop is not None:
            self._undo_committed(self.stop, stage)
        elif self.phase is Phase.CHANGING and not self._waiting:
            self.phase, self._soak = Phase.SOAKING, Watch(started=now)
            if not self._committed(stage.hosts) or (not stage.soak and not self.plan.triggers):
                self._close_stage(stage, self._judge(stage, over=True))

    def _take_looked(self, event: Looked, now: datetime) -> None:
        self._soak.take(event, now)
        stage = self.stage
        if self.finished or stage is None or event.stage != stage.name:
            return
        self._put_back_worse(event)
        if self.phase is not Phase.SOAKING or self.stop is not None:
            return
        over = self._soak.over(now, stage)
        if over:
            self._set_aside(event.silent, "the end of its soak time")
        if self.stop is not None:
            self._settle(now)
            return
        judgement = self._judge(stage, over=over)
        passed = over and judgement.decision is Decision.GO and not self._undo and not self._in_work
        if passed or judgement.decision in {Decision.HOLD, Decision.ROLL_BACK}:
            self._close_stage(stage, judgement)

    def _take_last_look(self, event: Looked, now: datetime) -> None:
        self._last_look = LastLook.DONE
        if self.finished:
            return
        self._put_back_worse(event)
        self._set_aside(event.silent, "the last look")
        self._settle(now)

    def _look_a_last_time(self) -> None:
        """Every changed host is looked at once more before the run ends, unless a person wants it to end now."""
        asked = self.stop is not None and self.stop.kind is StopKind.ASKED
        if self._last_look is LastLook.NOT_YET and self._committed(self.hosts) and not asked:
            self.phase = Phase.LAST_LOOK
        else:
            self._finish()

    def _end_last_look(self) -> None:
        if self._last_look is not LastLook.DONE:
            return
        if self.stop is not None:
            self._undo_committed(self.stop, self.stage_plan.stages[-1] if self.stage is None else self.stage)
        else:
            self._finish()

    @property
    def _judged_stage(self) -> PlannedStage | None:
        """The stage whose rules count: the one in work, after the last one the last."""
        stages = self.stage_plan.stages
        return self.stage or (stages[-1] if stages else None)

    def _put_back_worse(self, event: Looked) -> None:
        """Hosts that got worse go back, whether or not the run was stopped while they were being looked at."""
        for host, findings in sorted(event.worse.items()):
            if findings and host not in self._in_work and self._committed([host]):
                reason = f"got worse after the change: {findings[0].reason}"
                stage = next(stage.name for stage in self.stage_plan.stages if host in stage.hosts)
                self._undo = [undo for undo in self._undo if undo.host != host]
                self._undo.append(Undo(host, stage, reason, FailureClass.REGRESS))

    def _set_aside(self, silent: Iterable[str], when: str) -> None:
        """Committed hosts that cannot be asked when it counts: nothing is known about them, so they do not count as good."""
        for host in self._committed(silent):
            self.results[host] = self.results[host].model_copy(
                update={
                    "outcome": HostOutcome.SET_ASIDE,
                    "failure_class": FailureClass.UNREACHABLE,
                    "reason": f"no contact at {when}; it was committed before",
                    "remedy": f"bring {host} back, then `upkeep retry`: it is left alone if it runs the new version",
                },
            )
        self._stop_unless_within_limits()

    def _judge(self, stage: PlannedStage, *, over: bool) -> Judgement:
        running = self._with(stage.hosts, HostOutcome.COMMITTED, HostOutcome.ALREADY_CURRENT)
        triggers = self.plan.triggers if running and self._soak.looked_at else ()
        return judge_stage(
            triggers, self._soak.figures, self.plan.soak, over=over, finished=len(running), is_canary=stage.is_canary
        )

    def _close_stage(self, stage: PlannedStage, judgement: Judgement) -> None:
        if judgement.decision is Decision.GO:
            self.verdicts.append(StageVerdict(stage.name, judgement.decision, judgement.reason))
            self._stage_index += 1
            self._open_stage()
            if self.stage is None:
                self._look_a_last_time()
            return
        then = judgement.trigger.then if judgement.trigger else "hold"
        if judgement.decision is Decision.HOLD or then == "hold":
            self._halt(Stop(StopKind.HOLD, judgement.reason))
        else:
            self._halt(Stop(StopKind.GATE, judgement.reason, then))
        if not self._in_work and self.stop:
            self._undo_committed(self.stop, stage)

    def _stop_unless_within_limits(self) -> None:
        if self.stop is None and (
            stop := stop_for_failures(self.plan, self.results, len(self.hosts), self._judged_stage)
        ):
            self._halt(stop)

    def _halt(self, stop: Stop) -> None:
        if self.stop is not None or self.finished:
            return
        self.stop, self.waits_for = stop, None
        if self.stage is not None and self.phase is not Phase.CHECKING:
            decision = (
                Decision.HOLD if stop.kind in {StopKind.HOLD, StopKind.ASKED, StopKind.WINDOW} else Decision.ROLL_BACK
            )
            self.verdicts.append(StageVerdict(self.stage.name, decision, stop.reason))

    def _undo_committed(self, stop: Stop, stage: PlannedStage) -> None:
        self.phase = Phase.UNDOING
        names: Sequence[str] = {"roll back stage": stage.hosts, "roll back all": tuple(self.hosts)}.get(stop.undo, ())
        already = {undo.host for undo in self._undo} | self._in_work
        self._undo += [Undo(name, stage.name, stop.reason) for name in self._committed(names) if name not in already]
        if not self._undo:
            self._look_a_last_time()

    def _committed(self, names: Iterable[str]) -> tuple[str, ...]:
        return self._with(names, HostOutcome.COMMITTED)

    def _with(self, names: Iterable[str], *outcomes: HostOutcome) -> tuple[str, ...]:
        return tuple(n for n in names if n in self.results and self.results[n].outcome in outcomes)

    def _finish(self) -> None:
        self.phase = Phase.FINISHED
        why = self.stop.reason if self.stop else "dry run" if self.dry_run else "the run ended before its turn"
        for name in sorted(set(self.hosts) - set(self.results)):
            remedy = "" if self.dry_run else "once the cause is removed: upkeep retry"
            self.results[name] = HostResult(outcome=HostOutcome.NOT_STARTED, reason=why, remedy=remedy)
        self.outcome, self.reason = run_outcome(self.results, self.stop, dry_run=self.dry_run)
