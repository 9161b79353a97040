"""The run engine and a simulated fleet under any sequence of events (U7, R5; faults 8, 28-30, 34, 38, 40-44, 46, 47, 56).

Few examples by default; `HYPOTHESIS_PROFILE=torture` (or `--hypothesis-profile torture`) looks much longer.
"""

from __future__ import annotations

import os
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.rehearsal.fleets import TRIGGER, fleet, plan
from upkeep.domain.change import HostOutcome, HostResult
from upkeep.domain.engine import Engine, Interrupted, Phase
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.orders import Change, Changed, Check, Checked, Event, Look, Looked, Order, StopAsked, Undo
from upkeep.domain.plan import Plan
from upkeep.rehearsal.host import Behaviour
from upkeep.rehearsal.story import play_out, run_until_well
from upkeep.rehearsal.troubles import TROUBLES
from upkeep.rehearsal.world import START, World

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "torture"
PACE = settings(
    max_examples=3000 if LONG else 100,
    stateful_step_count=120 if LONG else 50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

STAGES = st.sampled_from([["canary", "25%", "100%"], ["100%"], [1, 2, "100%"]])
PLANS = st.builds(
    lambda budget, at_once, on_stop, stages, then, bears: plan(
        down_budget_pct=budget,
        at_once=at_once,
        on_stop=on_stop,
        stages=stages,
        triggers=[{**TRIGGER, "then": then}] if then else [],
        failures={"canary": {"at_least": bears}, "later": {"at_least": bears}},
    ),
    st.sampled_from([5, 20, 50, 100]),
    st.sampled_from([1, 3, 50]),
    st.sampled_from(["keep", "roll back stage", "roll back all"]),
    STAGES,
    st.sampled_from(["", "hold", "roll back stage", "roll back all"]),
    st.sampled_from([1, 2, 99]),
)

COMMITTED = HostResult(outcome=HostOutcome.COMMITTED)
CHANGED = st.sampled_from(
    [COMMITTED] * 8
    + [
        HostResult(outcome=HostOutcome.ALREADY_CURRENT),
        HostResult(outcome=HostOutcome.ROLLED_BACK, failure_class=FailureClass.VERIFY, reason="bad", remedy="look"),
        HostResult(outcome=HostOutcome.SET_ASIDE, failure_class=FailureClass.UNREACHABLE, reason="gone", remedy="wait"),
        HostResult(outcome=HostOutcome.FAILED, failure_class=FailureClass.BACKUP, reason="full", remedy="free space"),
        HostResult(outcome=HostOutcome.FAILED, failure_class=FailureClass.ROLLBACK, reason="stuck", remedy="repair"),
    ]
)
UNDONE = st.sampled_from(
    [HostResult(outcome=HostOutcome.ROLLED_BACK, reason="gate", remedy="look")] * 8
    + [HostResult(outcome=HostOutcome.FAILED, failure_class=FailureClass.ROLLBACK, reason="stuck", remedy="repair")]
)
WORSE = (Finding(check="service.active", verdict=Verdict.FAIL, reason="the unit is failed"),)


class AnyOrder(RuleBasedStateMachine):
    """The engine alone: its orders answered in any sequence with anything, killed and resumed at any moment."""

    @initialize(made=PLANS, size=st.integers(1, 24), data=st.data())
    def first_run(self, made: Plan, size: int, data: st.DataObject) -> None:
        self.opened(made, size, data)

    @precondition(lambda self: self.engine.finished and not self.open)
    @rule(made=PLANS, size=st.integers(1, 24), data=st.data())
    def another_run(self, made: Plan, size: int, data: st.DataObject) -> None:
        self.opened(made, size, data)

    def opened(self, made: Plan, size: int, data: st.DataObject) -> None:
        self.ready = False
        self.plan, self.fleet, self.now = made, fleet(size), START
        self.engine = Engine(made, self.fleet)
        self.open: list[Order] = []
        self.down: set[str] = set()
        self.begun: set[str] = set()
        self.orders_are_taken()
        self.all_orders_are_answered_with(data, well=False)
        self.orders_are_taken()
        self.ready = True

    @precondition(lambda self: self.open or not self.engine.finished)
    @rule(seconds=st.sampled_from([1, 30, 300, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.orders_are_taken()

    @precondition(lambda self: self.open or not self.engine.finished)
    @rule(data=st.data())
    def a_while_goes_well(self, data: st.DataObject) -> None:
        """Most of a run is dull; without this few sequences would come far."""
        for _ in range(data.draw(st.integers(1, 3))):
            for order in self.open:
                self.engine.apply(self.good_answer(order), self.now)
            self.open = []
            self.now = max(self.now, self.engine.wake_at() or self.now)
            self.orders_are_taken()

    @precondition(lambda self: self.open or not self.engine.finished)
    @rule()
    def orders_are_taken(self) -> None:
        stopped = self.engine.stop is not None
        for order in self.engine.orders(self.now):
            if isinstance(order, (Change, Undo)):
                assert order.host not in self.busy(), "no host is ordered twice at once"
            if isinstance(order, Change):
                assert not stopped or order.host in self.begun, "nothing is started after a stop"
                assert order.host not in self.engine.results, "no host is changed twice"
                counted = self.engine.in_work | self.engine.sick
                assert order.host in self.begun or len(counted) <= self.engine.down_allowed, "the budget is overspent"
            if isinstance(order, Undo):
                assert self.engine.results[order.host].outcome is HostOutcome.COMMITTED
            self.open.append(order)
        self.begun.clear()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def an_order_is_answered(self, data: st.DataObject) -> None:
        order = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.engine.apply(self.answer(order, data), self.now)
        self.orders_are_taken()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def all_orders_are_answered(self, data: st.DataObject) -> None:
        self.all_orders_are_answered_with(data, well=data.draw(st.booleans()))

    def all_orders_are_answered_with(self, data: st.DataObject, *, well: bool) -> None:
        answered, self.open = self.open, []
        for order in answered:
            self.engine.apply(self.good_answer(order) if well else self.answer(order, data), self.now)
        self.orders_are_taken()

    @precondition(lambda self: self.engine.phase in {Phase.CHANGING, Phase.SOAKING})
    @rule(really=st.integers(0, 2))
    def an_operator_stops_the_run(self, really: int) -> None:
        if really == 0:
            self.engine.apply(StopAsked("enough"), self.now)
            self.orders_are_taken()

    @precondition(lambda self: self.engine.phase not in {Phase.CHECKING, Phase.FINISHED})
    @rule()
    def the_controller_is_killed_and_resumed(self) -> None:
        undoing = [order for order in self.open if isinstance(order, Undo)]
        left = Interrupted(
            stage_plan=self.engine.stage_plan,
            results=dict(self.engine.results),
            verdicts=tuple(self.engine.verdicts),
            begun=tuple(order.host for order in self.open if isinstance(order, Change)) + tuple(self.begun),
            undoing=tuple(undoing),
            down=tuple(self.down),
            stop=self.engine.stop,
        )
        self.open, self.begun = [], set(left.begun)
        self.engine = Engine.resumed(self.plan, self.fleet, left, now=self.now)

    @invariant()
    def no_more_hosts_are_in_work_than_the_plan_allows(self) -> None:
        assert len(self.busy()) <= self.plan.at_once

    @invariant()
    def what_is_in_work_is_what_was_ordered(self) -> None:
        assert self.busy() | self.begun == self.engine.in_work

    @invariant()
    def the_canary_goes_first(self) -> None:
        passed = {v.stage for v in self.engine.verdicts if v.decision == "go"}
        ordered = [order.stage for order in self.open if isinstance(order, Change)]
        stages = self.engine.stage_plan.stages
        for name in ordered:
            before = stages[: [stage.name for stage in stages].index(name)]
            assert all(stage.name in passed for stage in before)

    @invariant()
    def a_finished_run_has_a_result_for_every_host(self) -> None:
        if self.engine.finished:
            assert set(self.engine.results) == set(self.engine.hosts)
            assert all(
                r.outcome in {HostOutcome.COMMITTED, HostOutcome.ALREADY_CURRENT} or (r.reason and r.remedy)
                for r in self.engine.results.values()
            )

    def teardown(self) -> None:
        if not getattr(self, "ready", False):
            return
        for _ in range(5000):
            if self.engine.finished and not self.open:
                break
            self.orders_are_taken()
            for order in self.open:
                self.engine.apply(self.good_answer(order), self.now)
            self.open = []
            self.now = max(self.now, self.engine.wake_at() or self.now)
        assert self.engine.finished, "a run always comes to an end"
        self.a_finished_run_has_a_result_for_every_host()

    def busy(self) -> set[str]:
        return {order.host for order in self.open if isinstance(order, (Change, Undo))}

    def answer(self, order: Order, data: st.DataObject) -> Event:
        if isinstance(order, Check) and data.draw(st.integers(0, 19)) == 0:
            self.down.add(order.host)
            return Checked(order.host, down=True)
        if isinstance(order, Change):
            return Changed(order.host, data.draw(CHANGED))
        if isinstance(order, Undo):
            return Changed(order.host, data.draw(UNDONE))
        if isinstance(order, Look) and order.hosts and data.draw(st.booleans()):
            hosts = data.draw(st.lists(st.sampled_from(order.hosts), min_size=1, max_size=4, unique=True))
            figures = {trigger.name: data.draw(st.sampled_from([1.0, 50.0, None])) for trigger in self.plan.triggers}
            if data.draw(st.booleans()):
                return Looked(order.stage, dict.fromkeys(hosts, WORSE), (), figures)
            return Looked(order.stage, {}, tuple(hosts), figures)
        return self.good_answer(order)

    def good_answer(self, order: Order) -> Event:
        if isinstance(order, Check):
            return Checked(order.host)
        if isinstance(order, Look):
            return Looked(order.stage, figures={trigger.name: 1.0 for trigger in self.plan.triggers})
        if isinstance(order, Change):
            return Changed(order.host, COMMITTED)
        return Changed(order.host, HostResult(outcome=HostOutcome.ROLLED_BACK, reason="gate", remedy="look"))


class AnyTrouble(RuleBasedStateMachine):
    """The engine with hosts, network, history and controllers: troubles of all kinds at any moment, then everything heals."""

    @initialize(made=PLANS, size=st.integers(1, 8), seed=st.integers(0, 99), bad=st.integers(0, 9))
    def a_run_begins(self, made: Plan, size: int, seed: int, bad: int) -> None:
        self.world = World(made, fleet(size), seed=seed, behaviours={f"h{bad:04}": Behaviour(starts=False)})
        self.world.start("r")

    @rule(events=st.sampled_from([1, 5, 30, 200]))
    def things_happen(self, events: int) -> None:
        until = self.world.timeline.happened + events
        self.world.play(until=lambda: self.world.timeline.happened >= until)

    @rule(seconds=st.sampled_from([1.0, 60.0, 660.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.world.timeline.seconds + seconds
        self.world.timeline.after(seconds, lambda: None)
        self.world.play(until=lambda: self.world.timeline.seconds >= until)

    @rule(trouble=st.sampled_from(sorted(TROUBLES)))
    def something_goes_wrong(self, trouble: str) -> None:
        TROUBLES[trouble](self.world, self.world.random, "r")

    @rule(how=st.sampled_from(["call", "answer"]))
    def the_next_step_fails(self, how: str) -> None:
        nth = self.world.network.calls + 1
        self.world.network.loses = lambda call, _host: how if call == nth else ""

    @rule()
    def the_controller_is_killed(self) -> None:
        self.world.kill("r")

    @rule()
    def the_run_is_resumed(self) -> None:
        self.world.resume("r")

    @invariant()
    def every_promise_is_kept(self) -> None:
        assert not self.world.witness.violations

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        play_out(self.world, "r")
        run_until_well(self.world)
        self.world.witness.gapless()
        self.every_promise_is_kept()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = PACE
TestAnyTrouble = AnyTrouble.TestCase
TestAnyTrouble.settings = PACE
