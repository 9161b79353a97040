"""One host's steps as a simulated controller takes them: the same order, intents and ways out as the runbooks' own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from random import Random
from typing import TypeVar, cast

from upkeep.domain.change import UNFINISHED, HostOutcome, HostResult, JournalState, Step
from upkeep.domain.facts import HostFacts
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding
from upkeep.domain.orders import Changed, Checked, Undo
from upkeep.domain.plan import Plan
from upkeep.errors import CommandFailed, HostError, StepFailed, Unreachable
from upkeep.rehearsal import scripts
from upkeep.rehearsal.host import NEW, OLD, Script, SimHost, SimJournal, SimLock
from upkeep.rehearsal.outcomes import result_of
from upkeep.rehearsal.scripts import HostOrder
from upkeep.rehearsal.store import Store
from upkeep.rehearsal.timeline import Fibre, Timeline, Wait, Work, pause

T = TypeVar("T")
Steps = Generator[Wait, object, T]

LOOK_EVERY_SECONDS = 5.0
RECONNECT_SECONDS = 15.0
GUARD_MARGIN_SECONDS = 60.0


class Network:
    """The way from a controller to the hosts; `loses` is asked before every call: what it names is lost."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        self.timeline, self.random = timeline, random
        self.calls = 0
        self.loses: Callable[[int, SimHost], str] = lambda _call, _host: ""

    def ask(self, host: SimHost, script: Callable[[], Script], *, owner: str, writes: bool) -> Wait:
        """Let the host run a script; the answer, or what became of it, goes to the work that waits."""

        def begin(fibre: Fibre) -> None:
            self.calls += 1
            lost = self.loses(self.calls, host)
            if lost == "call" or not host.answers:
                self._lost(fibre, host, "no connection")
                return

            def reply(value: object, error: Exception | None) -> None:
                if lost == "answer" or not host.answers:
                    self._lost(fibre, host, "the connection broke")
                elif isinstance(error, HostError):
                    self.timeline.after(0.02, lambda: fibre.go_on(error=error))
                else:
                    self.timeline.after(0.02, lambda: fibre.go_on(value))

            host.run(script, reply, owner=owner, writes=writes)

        return begin

    def _lost(self, fibre: Fibre, host: SimHost, problem: str) -> None:
        error = Unreachable(host.name, problem, remedy="look whether the host is up and its SSH port open")
        self.timeline.after(self.random.uniform(1, 15), lambda: fibre.go_on(error=error))


class HostWork:
    """One run's work on one host."""

    def __init__(self, host: SimHost, network: Network, store: Store, *, run: str, plan: Plan, is_over: IsOver) -> None:
        self.host, self.run, self.plan = host, run, plan
        self._network, self._store, self._is_over = network, store, is_over
        self._timeline = network.timeline
        self._order = HostOrder(
            run, (plan.delivery.timeout + 2 * plan.dead_man).total_seconds(), plan.dead_man.total_seconds()
        )

    def check(self) -> Steps[Checked]:
        """Look at the host before anything is changed anywhere."""
        try:
            checked = yield from self._look("")
        except StepFailed as error:
            return Checked(self.host.name, None, result_of(error))
        return checked

    def change(self, stage: str) -> Steps[Changed]:
        """Take the host through its transaction."""
        try:
            result = yield from self._change(stage)
        except StepFailed as error:
            result = result_of(error)
        return Changed(self.host.name, result)

    def undo(self, order: Undo) -> Steps[Changed]:
        """Put the committed host back."""
        try:
            locked = yield from self._lock(order.stage)
            result = yield from self._put_back(locked, order.reason, order.failure_class, order.stage)
            yield from self._unlock(locked, order.stage)
        except StepFailed as error:
            result = result_of(error)
        return Changed(self.host.name, result)

    def last_look(self) -> Steps[HostResult | None]:
        """What is wrong with a committed host when the run is over; None when it is well."""
        try:
            bad = yield from self._step(Step.VERIFY, "", self._ask(lambda: scripts.look(self.host, NEW)))
        except StepFailed as error:
            return result_of(error)
        findings = cast("tuple[Finding, ...]", bad)
        if not findings:
            return None
        return HostResult(
            outcome=HostOutcome.FAILED,
            failure_class=FailureClass.REGRESS,
            reason=f"{self.host.name}, step verify: {findings[0].reason}",
            remedy=f"put it back: upkeep rollback {self.run}",
        )

    def worse(self) -> Steps[tuple[Finding, ...] | None]:
        """What got worse since the commit; None without an answer."""
        try:
            found = yield from self._ask(lambda: scripts.look(self.host, NEW))
        except HostError:
            return None
        return cast("tuple[Finding, ...]", found)

    def _look(self, stage: str) -> Steps[Checked]:
        answer = yield from self._step(Step.CHECK, stage, self._ask(lambda: scripts.check(self.host)))
        facts = cast("HostFacts", answer)
        journal, lock = yield from self._state(Step.CHECK, stage)
        name = self.host.name
        if lock and self._is_kept_out(lock):
            held = StepFailed(name, Step.CHECK, HostError(name, f"run {lock.run} holds it", remedy="wait for that run"))
            return Checked(name, facts, result_of(held), down=not facts.service_active)
        current = facts.installed_version == facts.running_version == NEW and journal.state not in UNFINISHED
        result = HostResult(outcome=HostOutcome.ALREADY_CURRENT, to_version=NEW) if current else None
        return Checked(name, facts, result, down=not facts.service_active)

    def _change(self, stage: str) -> Steps[HostResult]:
        """As for a new run; what an earlier controller of this very run has done is found in the journal."""
        journal, _ = yield from self._state(Step.CHECK, stage)
        own = journal.run == self.run
        if own and journal.state is JournalState.COMMITTED:
            return (yield from self._found_committed(stage))
        going_back = own and journal.state in {JournalState.ROLLING_BACK, JournalState.ROLLED_BACK}
        if going_back and (self.host.name, Step.ROLLBACK) in self._store.runs[self.run].intended:
            order = yield from self._lock(stage)
            result = yield from self._put_back(order, journal.reason, FailureClass.VERIFY, stage)
            yield from self._unlock(order, stage)
            return result
        if not (own and journal.state in {JournalState.ARMED, JournalState.SWITCHED}):
            seen = yield from self._look(stage)
            if seen.result:
                return seen.result
        return (yield from self._transaction(stage))

    def _found_committed(self, stage: str) -> Steps[HostResult]:
        order = yield from self._lock(stage)
        yield from self._step(Step.COMMIT, stage, self._write(lambda: scripts.commit(self.host, order)))
        yield from self._unlock(order, stage)
        return self._committed()

    def _found_back(self, journal: SimJournal) -> HostResult:
        return HostResult(
            outcome=HostOutcome.ROLLED_BACK,
            failure_class=FailureClass.UNREACHABLE,
            from_version=OLD,
            to_version=OLD,
            reason=f"{self.host.name}, step watch: the host went back by itself: {journal.reason}",
            remedy="find out why before trying again",
        )

    def _transaction(self, stage: str) -> Steps[HostResult]:
        order = yield from self._lock(stage)
        try:
            yield from self._step(Step.BACKUP, stage, self._write(lambda: scripts.back_up(self.host, order)))
            yield from self._step(Step.FETCH, stage, self._write(lambda: scripts.stage(self.host, order)))
            result = yield from self._guarded(order, stage)
        except StepFailed:
            yield from self._unlock(order, stage)
            raise
        yield from self._unlock(order, stage)
        return result

    def _guarded(self, order: HostOrder, stage: str) -> Steps[HostResult]:
        try:
            yield from self._step(Step.SWITCH, stage, self._write(lambda: scripts.switch(self.host, order)))
            yield from self._step(Step.VERIFY, stage, self._watch_healthy(NEW))
            yield from self._step(Step.COMMIT, stage, self._write(lambda: scripts.commit(self.host, order)))
        except StepFailed as error:
            if isinstance(error.cause, Unreachable):
                return (yield from self._wait_for_host(order, error, stage))
            failed = result_of(error)
            return (
                yield from self._put_back(
                    order, failed.reason, failed.failure_class, stage, failed.remedy, guarded=True
                )
            )
        return self._committed()

    def _committed(self) -> HostResult:
        return HostResult(outcome=HostOutcome.COMMITTED, from_version=OLD, to_version=NEW)

    def _put_back(
        self,
        order: HostOrder,
        reason: str,
        failure_class: FailureClass | None,
        stage: str,
        remedy: str = "",
        *,
        guarded: bool = False,
    ) -> Steps[HostResult]:
        try:
            yield from self._step(Step.ROLLBACK, stage, self._restored(order, reason))
        except StepFailed as error:
            if guarded and isinstance(error.cause, Unreachable):
                return (yield from self._wait_for_host(order, error, stage))
            return HostResult(
                outcome=HostOutcome.FAILED,
                failure_class=FailureClass.ROLLBACK,
                reason=f"{reason}; and the rollback failed as well: {error}",
                remedy=f"quarantined: repair {self.host.name} by hand from its backup, then `upkeep retry`",
            )
        return HostResult(
            outcome=HostOutcome.ROLLED_BACK,
            failure_class=failure_class,
            from_version=OLD,
            to_version=OLD,
            reason=reason,
            remedy=remedy or "find out why before trying again on this host",
        )

    def _restored(self, order: HostOrder, reason: str) -> Steps[object]:
        answer = yield from self._write(lambda: scripts.roll_back(self.host, order, reason))
        return (yield from self._watch_healthy(cast("SimJournal", answer).before))

    def _wait_for_host(self, order: HostOrder, error: StepFailed, stage: str) -> Steps[HostResult]:
        """Contact was lost after the switch: believe the host once it answers, or its dead-man switch."""
        deadline = self._timeline.seconds + self._order.dead_man + GUARD_MARGIN_SECONDS
        reason = f"contact lost after the switch ({error})"
        journal = yield from self._step(Step.WATCH, stage, self._journal_when_back(deadline))
        if journal is None:
            return HostResult(
                outcome=HostOutcome.SET_ASIDE,
                failure_class=FailureClass.UNREACHABLE,
                reason=f"{reason}; its dead-man switch puts it back by itself",
                remedy=f"bring the host back, then look: upkeep status {self.run}",
            )
        if journal.state is JournalState.ROLLED_BACK:
            return self._found_back(journal)
        return (yield from self._put_back(order, reason, FailureClass.UNREACHABLE, stage))

    def _journal_when_back(self, deadline: float) -> Steps[SimJournal | None]:
        while True:
            try:
                answer = yield from self._ask(lambda: scripts.inspect(self.host))
            except HostError:
                if self._timeline.seconds >= deadline:
                    return None
            else:
                return cast("tuple[SimJournal, SimLock | None]", answer)[0]
            yield pause(self._timeline, RECONNECT_SECONDS)

    def _watch_healthy(self, version: str) -> Steps[object]:
        """Look until the version has been well for the healthy time."""
        began = well_since = self._timeline.seconds
        while True:
            answer = yield from self._ask(lambda: scripts.look(self.host, version))
            findings, now = cast("tuple[Finding, ...]", answer), self._timeline.seconds
            if not findings and now - well_since >= self.plan.healthy_time.total_seconds():
                return None
            if findings:
                well_since = now
                if now - began >= self.plan.healthy_deadline.total_seconds() or findings[0].check == "service.active":
                    raise CommandFailed(self.host.name, findings[0].reason, exit_code=1, remedy=findings[0].remedy)
            yield pause(self._timeline, LOOK_EVERY_SECONDS)

    def _lock(self, stage: str) -> Steps[HostOrder]:
        return (yield from self._step(Step.LOCK, stage, self._locked()))

    def _locked(self) -> Steps[HostOrder]:
        """Hold the host's lock; what a dead run left half-done is put back first."""
        answer = yield from self._ask(lambda: scripts.inspect(self.host))
        journal, lock = cast("tuple[SimJournal, SimLock | None]", answer)
        unfinished = journal.state in UNFINISHED
        holder = lock.run if lock else journal.run if unfinished else ""
        left_behind = bool(holder) and holder != self.run and self._is_over(holder)
        fence = yield from self._write(lambda: scripts.take_lock(self.host, self._order, take_over=left_behind))
        order = replace(self._order, fence=cast("int", fence))
        if left_behind and unfinished:
            yield from self._write(lambda: scripts.roll_back(self.host, order, f"left behind by run {holder}"))
        return order

    def _unlock(self, order: HostOrder, stage: str) -> Steps[None]:
        try:
            yield from self._step(Step.UNLOCK, stage, self._write(lambda: scripts.release_lock(self.host, order)))
        except StepFailed:
            return

    def _is_kept_out(self, lock: SimLock) -> bool:
        return lock.run != self.run and lock.until > self.host.clock and not self._is_over(lock.run)

    def _state(self, step: Step, stage: str) -> Steps[tuple[SimJournal, SimLock | None]]:
        answer = yield from self._step(step, stage, self._ask(lambda: scripts.inspect(self.host)))
        return cast("tuple[SimJournal, SimLock | None]", answer)

    def _step(self, step: Step, stage: str, work: Steps[T]) -> Steps[T]:
        """One step: intent in the history before, result after."""
        self._store.intent(self.run, self.host.name, step, stage)
        try:
            answer = yield from work
        except HostError as error:
            self._store.ended(self.run, self.host.name, step, stage, error=str(error))
            raise StepFailed(self.host.name, step.value, error) from error
        facts = answer if isinstance(answer, HostFacts) else None
        self._store.ended(self.run, self.host.name, step, stage, facts=facts)
        return answer

    def _ask(self, script: Callable[[], Script]) -> Work:
        return (yield self._network.ask(self.host, script, owner=self.run, writes=False))

    def _write(self, script: Callable[[], Script]) -> Work:
        return (yield self._network.ask(self.host, script, owner=self.run, writes=True))


IsOver = Callable[[str], bool]
"""Whether a run is known to be over, or its controller to be dead."""
