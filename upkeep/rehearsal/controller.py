"""A simulated controller: carries out the engine's orders over simulated time, and can be killed anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import cast

from upkeep.domain.change import HostResult, RunOutcome
from upkeep.domain.engine import Engine, Interrupted
from upkeep.domain.finding import Finding
from upkeep.domain.orders import Change, Changed, Check, Checked, Event, Look, Looked, Order, StopAsked, Undo
from upkeep.domain.plan import Trigger
from upkeep.errors import AuditError, UpkeepError
from upkeep.rehearsal.host import SimHost
from upkeep.rehearsal.host_work import HostWork, IsOver, Network, Steps
from upkeep.rehearsal.store import Store
from upkeep.rehearsal.timeline import Due, Fibre, Timeline, Work, pause

Figures = Callable[[Trigger], float | None]


class Orders:
    """Told of every order and every answer; here nobody listens."""

    def ordered(self, controller: Controller, order: Order) -> None:
        """The engine gave an order."""

    def answered(self, controller: Controller, order: Order, event: Event) -> None:
        """An order was answered."""

    def closed(self, controller: Controller) -> None:
        """The run is over."""


class Controller:
    """One controller process with one run."""

    def __init__(
        self,
        run: str,
        engine: Engine,
        hosts: Mapping[str, SimHost],
        network: Network,
        store: Store,
        *,
        random: Random,
        is_over: IsOver,
        figures: Figures,
        listener: Orders,
        left: Interrupted | None = None,
    ) -> None:
        self.run, self.engine, self.alive, self.closed, self.left = run, engine, True, False, left
        self.lost: AuditError | None = None
        self.outcome: RunOutcome | None = None
        self.reason = ""
        self.hosts, self._store, self._random = hosts, store, random
        self._figures, self._listener = figures, listener
        self._timeline: Timeline = network.timeline
        self._work = {
            name: HostWork(hosts[name], network, store, run=run, plan=engine.plan, is_over=is_over)
            for name in engine.hosts
        }
        self._open = 0
        self._verdicts = len(left.verdicts) if left else 0
        self._planned, self._stopped = left is not None, left is not None and left.stop is not None
        self._wake: Due | None = None
        self._looking_last = False
        self._bad: list[str] = []

    def start(self) -> None:
        """Open the run, or go on with it."""
        self._guarded(self._begin)

    def kill(self) -> None:
        """SIGKILL: nothing of this process ever happens again."""
        self.alive = False
        for name in self._work:
            self.hosts[name].hang_up(self.run)

    def ask_stop(self, reason: str) -> None:
        """A person wants no further host to be started."""
        if self.alive and self.lost is None and self.engine.stop is None and not self.engine.finished:
            self.engine.apply(StopAsked(reason), self._timeline.now)
            self._guarded(self._go_on)

    def _begin(self) -> None:
        if self.run not in self._store.runs:
            self._store.run_opened(self.run)
        self._go_on()

    def _guarded(self, act: Callable[[], None]) -> None:
        """A history that cannot be written ends the run: what is in work is not followed any more, nothing else begins."""
        if not self.alive or self.lost is not None:
            return
        try:
            act()
        except AuditError as error:
            self.lost = error
            self._end_if_idle()

    def _go_on(self) -> None:
        if self.closed or self._looking_last:
            return
        self._note_stages()
        while orders := self.engine.orders(self._timeline.now):
            self._note_stages()
            for order in orders:
                self._hand_out(order)
        self._note_stages()
        self._sleep()
        if self.engine.finished and not self._open:
            self._look_a_last_time()

    def _sleep(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
        wake_at = self.engine.wake_at()
        self._wake = None if wake_at is None else self._timeline.at(wake_at, lambda: self._guarded(self._go_on))

    def _hand_out(self, order: Order) -> None:
        self._listener.ordered(self, order)
        self._open += 1
        fibre = Fibre(
            self._work_for(order), lambda: self.alive, lambda event, error: self._answered(order, event, error)
        )
        self._timeline.after(self._random.uniform(0, 0.5), fibre.go_on)

    def _work_for(self, order: Order) -> Work:
        if isinstance(order, Check):
            return self._work[order.host].check()
        if isinstance(order, Change):
            return self._work[order.host].change(order.stage)
        if isinstance(order, Undo):
            return self._work[order.host].undo(order)
        return self._look(order)

    def _look(self, order: Look) -> Steps[Looked]:
        """All hosts are asked side by side; the answer is there when the last one is."""
        worse: dict[str, tuple[Finding, ...]] = {}
        silent: list[str] = []

        def take(host: str) -> Callable[[object, UpkeepError | None], None]:
            def done(found: object, _error: UpkeepError | None) -> None:
                if found is None:
                    silent.append(host)
                elif found:
                    worse[host] = cast("tuple[Finding, ...]", found)
                left.discard(host)

            return done

        left = set(order.hosts)
        for host in order.hosts:
            Fibre(self._work[host].worse(), lambda: self.alive, take(host)).go_on()
        while left:
            yield pause(self._timeline, 1.0)
        figures = {trigger.name: self._figures(trigger) for trigger in self.engine.plan.triggers}
        seen = Looked(order.stage, worse, tuple(silent), figures)
        self._store.looked(self.run, seen)
        return seen

    def _answered(self, order: Order, answer: object, error: UpkeepError | None) -> None:
        self._open -= 1
        if isinstance(error, AuditError):
            self.lost = self.lost or error
        elif error is not None:
            raise error
        if self.lost is not None:
            self._end_if_idle()
            return
        self._guarded(lambda: self._take(order, cast("Event", answer)))

    def _take(self, order: Order, event: Event) -> None:
        if isinstance(event, (Checked, Changed)) and event.result is not None:
            self._store.result(self.run, event.host, event.result)
        self.engine.apply(event, self._timeline.now)
        self._listener.answered(self, order, event)
        self._go_on()

    def _note_stages(self) -> None:
        """Write down what is new: the plan of stages once it is made, a stop, verdicts, the stage in work."""
        engine = self.engine
        if not self._planned and engine.stage_plan.stages:
            self._store.planned(self.run, engine.stage_plan)
            self._planned = True
        if not self._stopped and engine.stop is not None:
            self._store.stopped(self.run, engine.stop)
            self._stopped = True
        for verdict in engine.verdicts[self._verdicts :]:
            self._open_stage(verdict.stage)
            self._store.stage_closed(self.run, verdict)
            self._verdicts += 1
        if engine.stage is not None and not engine.dry_run and not engine.finished:
            self._open_stage(engine.stage.name)

    def _open_stage(self, name: str) -> None:
        if name not in self._store.runs[self.run].opened_stages:
            self._store.stage_opened(self.run, name)

    def _look_a_last_time(self) -> None:
        """Every changed host is verified once more, after all stages."""
        self._looking_last = True
        written = self._store.runs[self.run].results
        for name, result in self.engine.results.items():
            if name not in written or written[name].outcome is not result.outcome:
                self._store.result(self.run, name, result)
        committed = [n for n, r in self.engine.results.items() if r.outcome == "committed"]
        self._open = len(committed)
        for name in committed:
            Fibre(self._work[name].last_look(), lambda: self.alive, self._looked(name)).go_on()
        if not committed:
            self._close()

    def _looked(self, host: str) -> Callable[[object, UpkeepError | None], None]:
        def done(found: object, error: UpkeepError | None) -> None:
            self._open -= 1
            if isinstance(error, AuditError):
                self.lost = self.lost or error
            if self.lost is not None:
                self._end_if_idle()
                return
            self._guarded(lambda: self._take_last(host, cast("HostResult | None", found)))

        return done

    def _take_last(self, host: str, found: HostResult | None) -> None:
        if found is not None:
            self._store.result(self.run, host, found)
            self.engine.results[host] = found
            self._bad.append(host)
        if not self._open:
            self._close()

    def _close(self) -> None:
        self.outcome, self.reason = self.engine.outcome or RunOutcome.FAILED, self.engine.reason
        if self._bad:
            self.outcome = RunOutcome.FAILED
            self.reason = f"{self.reason}; not well at the last look: {', '.join(sorted(self._bad))}"
        self._store.run_closed(self.run, self.outcome, self.reason)
        self.closed, self.alive = True, False
        self._listener.closed(self)

    def _end_if_idle(self) -> None:
        if self._open == 0:
            self.alive = False
