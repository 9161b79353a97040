"""What must never happen, checked at every event of a simulation; the promises of docs/rehearse.md in code."""

from __future__ import annotations

from upkeep.domain.change import HostOutcome, HostResult, JournalState, Step
from upkeep.domain.orders import Change, Changed, Check, Event, Look, Looked, Order, Undo
from upkeep.domain.progress import is_good
from upkeep.rehearsal.controller import Controller, Orders
from upkeep.rehearsal.host import NEW, SimHost, Watcher
from upkeep.rehearsal.store import Store
from upkeep.rehearsal.timeline import Timeline

STEPS_OF_PHASE = {
    "take_lock": (Step.LOCK,),
    "back_up": (Step.BACKUP,),
    "stage": (Step.FETCH,),
    "switch": (Step.SWITCH,),
    "commit": (Step.COMMIT,),
    "roll_back": (Step.ROLLBACK, Step.LOCK),
}

GUARD_SLACK_SECONDS = 200.0
JUST_NOW_SECONDS = 120.0


class Witness(Watcher, Orders):
    """Sees everything and keeps what broke a promise in `violations`; also counts what a reader wants to know."""

    def __init__(self, timeline: Timeline, store: Store) -> None:
        self.violations: list[str] = []
        self.down: set[str] = set()
        self.most_down = 0
        self.ever_broken: set[str] = set()
        self._timeline, self._store = timeline, store
        self._bad_since: dict[str, float] = {}
        self._watched_deadlines: dict[str, float] = {}
        self._in_work: set[tuple[str, str]] = set()
        self._found_worse: set[tuple[str, str]] = set()
        self._answered_at: dict[tuple[str, str], float] = {}
        self._last_commit: dict[tuple[str, str], float] = {}

    def begins(self, host: SimHost, run: str, phase: str) -> None:
        """Promise 3: no side effect without its intent in the history before."""
        intended = self._store.runs[run].intended
        if not any((host.name, step) in intended for step in STEPS_OF_PHASE[phase]):
            self._broken(f"{host.name}: {phase} without an intent of run {run} in the history")

    def touched(self, host: SimHost) -> None:
        """Promises 1 and 2, as far as one moment can tell."""
        self._count(host)
        if host.linked == NEW and not host.backups:
            self._broken(f"{host.name}: switched, and nothing to go back to")
        not_yet = {JournalState.NONE, JournalState.PREPARED, JournalState.STAGED}
        if host.linked != host.journal.before and host.journal.state in not_yet:
            self._broken(f"{host.name}: switched, and its journal says {host.journal.state}")
        if host.journal.state is JournalState.SWITCHED and host.up and host.guard_deadline is None:
            self._broken(f"{host.name}: switched without its dead-man switch")
        self._watch_deadline(host)

    def guard_acts(self, host: SimHost) -> None:
        """The dead-man switch never acts after a commit."""
        if host.journal.state is JournalState.COMMITTED:
            self._broken(f"{host.name}: the dead-man switch acted after the commit")

    def ordered(self, controller: Controller, order: Order) -> None:
        """What the engine may order when."""
        if isinstance(order, (Check, Look)):
            return
        mark = (controller.run, order.host)
        if mark in self._in_work:
            self._broken(f"{order.host}: ordered twice at once")
        self._in_work.add(mark)
        if isinstance(order, Change):
            self._change_ordered(controller, order)
        elif (known := controller.engine.results.get(order.host)) is None or known.outcome is not HostOutcome.COMMITTED:
            self._broken(f"{order.host}: to be put back without having been committed")
        self._within_budget(controller, order)

    def answered(self, controller: Controller, order: Order, event: Event) -> None:
        """A host's work is over."""
        if isinstance(event, Changed):
            self._in_work.discard((controller.run, event.host))
            self._answered_at[controller.run, event.host] = self._timeline.seconds
        if isinstance(event, Looked):
            worse = {(controller.run, host) for host in event.worse}
            self._found_worse |= worse - self._in_work  # those in work are on their way back for another reason already
        if isinstance(order, Change) and isinstance(event, Changed):
            self._last_commit[controller.run, order.stage] = self._timeline.seconds

    def killed(self, run: str) -> None:
        """The run's controller is gone, and its orders with it."""
        self._in_work = {mark for mark in self._in_work if mark[0] != run}

    def closed(self, controller: Controller) -> None:
        """Promises 1 and 5: every host ended well or is flagged, and says why and what to do."""
        hosts = controller.hosts
        for name in controller.engine.hosts:
            result = self._store.runs[controller.run].results.get(name)
            if result is None:
                self._broken(f"{name}: the run is over and the history has no result")
                continue
            went_back = result.outcome is HostOutcome.ROLLED_BACK and result.failure_class is None
            if went_back and (controller.run, name) in self._found_worse:
                self._broken(f"{name}: got worse and went back, and does not count as a failure")
            if hosts[name].journal.run in {"", controller.run}:
                self._ended(controller.run, hosts[name], result)
            if not is_good(result.outcome) and not (result.reason and result.remedy):
                self._broken(f"{name}: {result.outcome} without reason or remedy ({result.reason!r})")

    def gapless(self) -> None:
        """Promise 3: the history has no gaps."""
        if [line.seq for line in self._store.lines] != list(range(1, len(self._store.lines) + 1)):
            self._broken("the history has gaps")

    def _ended(self, run: str, host: SimHost, result: HostResult) -> None:
        since = self._bad_since.get(host.name)
        if since is not None and self._timeline.seconds - since < JUST_NOW_SECONDS:
            return
        went_back = result.outcome is HostOutcome.ROLLED_BACK
        if went_back and since is not None and since > self._answered_at.get((run, host.name), 0):
            return  # it was well on the old version; what happens to it later is no part of the run
        before = host.journal.before
        version = {HostOutcome.COMMITTED: NEW, HostOutcome.ALREADY_CURRENT: NEW, HostOutcome.ROLLED_BACK: before}
        wanted = version.get(result.outcome)
        if wanted is not None and (not host.well or host.running != wanted):
            self._broken(
                f"{host.name}: recorded as {result.outcome}, but runs {host.running} of {host.linked}, {host.journal.state}"
            )

    def _count(self, host: SimHost) -> None:
        if host.serving:
            self.down.discard(host.name)
            self._bad_since.pop(host.name, None)
        else:
            self.down.add(host.name)
            self._bad_since.setdefault(host.name, self._timeline.seconds)
            self.most_down = max(self.most_down, len(self.down))
            if host.is_broken:
                self.ever_broken.add(host.name)

    def _watch_deadline(self, host: SimHost) -> None:
        deadline = host.guard_deadline
        if deadline is None or self._watched_deadlines.get(host.name) == deadline:
            return
        self._watched_deadlines[host.name] = deadline
        self._timeline.after(
            deadline - self._timeline.seconds + GUARD_SLACK_SECONDS, lambda: self._overdue(host, deadline)
        )

    def _overdue(self, host: SimHost, deadline: float) -> None:
        """Promise 1: once the dead-man time is over, nothing is half done on a host that is up."""
        half_done = host.journal.state in {JournalState.ARMED, JournalState.SWITCHED}
        if host.up and half_done and host.guard_deadline == deadline:
            self._broken(f"{host.name}: still {host.journal.state} after its dead-man time")

    def _change_ordered(self, controller: Controller, order: Change) -> None:
        engine = controller.engine
        begun = controller.left.begun if controller.left else ()
        if engine.stop is not None and order.host not in begun:
            self._broken(f"{order.host}: started after the stop ({engine.stop.reason})")
        index = next(n for n, stage in enumerate(engine.stage_plan.stages) if stage.name == order.stage)
        passed = {v.stage for v in engine.verdicts if v.decision == "go"}
        for stage in engine.stage_plan.stages[:index]:
            ended = self._last_commit.get((controller.run, stage.name), float("-inf"))
            if stage.name not in passed:
                self._broken(f"{order.host}: started before the stage '{stage.name}' was passed")
            elif self._timeline.seconds - ended < stage.soak.total_seconds() - 1 and self._committed(
                controller, stage.hosts
            ):
                self._broken(f"{order.host}: started before the stage '{stage.name}' was watched its whole time")

    def _committed(self, controller: Controller, hosts: tuple[str, ...]) -> bool:
        results = controller.engine.results
        return any(name in results and results[name].outcome is HostOutcome.COMMITTED for name in hosts)

    def _within_budget(self, controller: Controller, order: Change | Undo) -> None:
        """The engine counts what it has in work and knows to be sick; one host alone may always be put back."""
        engine = controller.engine
        counted = engine.in_work | engine.sick
        begun_before = controller.left is not None and order.host in {undo.host for undo in controller.left.undoing}
        if order.host in self.down or begun_before or len(engine.in_work) == 1:
            return
        if len(counted) > engine.down_allowed or len(engine.in_work) > engine.plan.at_once:
            self._broken(f"{order.host}: {len(counted)} hosts in work or sick, {engine.down_allowed} allowed")

    def _broken(self, what: str) -> None:
        self.violations.append(f"after {self._timeline.seconds:.0f} s: {what}")
