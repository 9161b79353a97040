"""The run engine under random fleets, failures, silence and stops (U7, R5; faults 3, 7, 40, 42, 43, 45)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.engine import LAST_LOOK, Engine, Interrupted, Phase
from upkeep.domain.facts import HostFacts
from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.inventory import Host
from upkeep.domain.orders import Change, Changed, Check, Checked, Look, Looked, StopAsked, Undo
from upkeep.domain.plan import Plan
from upkeep.domain.stopping import Stop, StopKind

START = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
WORSE = Finding(check="service.active", verdict=Verdict.FAIL, reason="the unit is failed")


def plan(**changes: object) -> Plan:
    return Plan.model_validate({"name": "p", "profile": "ms-720", "release": "r.json", **changes})


def fleet(size: int) -> list[Host]:
    return [Host(name=f"h{n:03}", address=f"10.0.0.{n}", labels={"zone": "abc"[n % 3]}) for n in range(1, size + 1)]


class World:
    """Answers every order at once, as the given behaviour says, with a clock that only moves when the engine waits."""

    def __init__(
        self, engine: Engine, behaviour: dict[str, str] | None = None, figures: list[float | None] | None = None
    ) -> None:
        self.engine, self.behaviour, self.figures = engine, behaviour or {}, figures
        self.now = START
        self.log: list[object] = []
        self.most_down = 0

    def run(self, limit: int = 20_000) -> Engine:
        for _ in range(limit):
            if self.engine.finished:
                return self.engine
            self.step()
        raise AssertionError("the run never ends")

    def step(self) -> None:
        orders = self.engine.orders(self.now)
        busy = self.engine.in_work | self.engine.sick
        if self.engine.phase is Phase.CHANGING:
            self.most_down = max(self.most_down, len(busy))
        for order in orders:
            self.log.append(order)
            self.engine.apply(self.answer(order), self.now)
        if not orders and not self.engine.finished:
            wake = self.engine.wake_at()
            assert wake is not None, "the engine neither orders nor waits"
            self.now = max(wake, self.now)

    def answer(self, order: object) -> Checked | Changed | Looked:
        if isinstance(order, Check):
            return self.check(order.host)
        if isinstance(order, Change):
            return Changed(order.host, self.change(order.host))
        if isinstance(order, Undo):
            return Changed(order.host, HostResult(outcome=HostOutcome.ROLLED_BACK, failure_class=order.failure_class))
        assert isinstance(order, Look)
        when = "at the end" if order.stage == LAST_LOOK else "in soak"
        worse = {h: (WORSE,) for h in order.hosts if self.behaviour.get(h) == f"worse {when}"}
        figure = self.figures.pop(0) if self.figures else 0.0
        silent = tuple(h for h in order.hosts if self.behaviour.get(h) == f"silent {when}")
        return Looked(order.stage, worse, silent, {t.name: figure for t in self.engine.plan.triggers})

    def check(self, host: str) -> Checked:
        kind = self.behaviour.get(host)
        facts = HostFacts(os_id="debian", os_version="12", kernel="6.1", machine="x86_64")
        if kind == "unreachable":
            return Checked(
                host, None, HostResult(outcome=HostOutcome.SET_ASIDE, failure_class=FailureClass.UNREACHABLE)
            )
        if kind == "full":
            return Checked(host, facts, HostResult(outcome=HostOutcome.BLOCKED, failure_class=FailureClass.ENVIRONMENT))
        if kind == "current":
            return Checked(host, facts, HostResult(outcome=HostOutcome.ALREADY_CURRENT))
        return Checked(host, facts, down=kind == "down")

    def change(self, host: str) -> HostResult:
        kind = self.behaviour.get(host)
        if kind == "breaks":
            return HostResult(outcome=HostOutcome.ROLLED_BACK, failure_class=FailureClass.VERIFY, reason="not healthy")
        if kind == "quarantined":
            return HostResult(outcome=HostOutcome.FAILED, failure_class=FailureClass.ROLLBACK, reason="rollback failed")
        if kind == "lost":
            return HostResult(outcome=HostOutcome.SET_ASIDE, failure_class=FailureClass.UNREACHABLE)
        return HostResult(outcome=HostOutcome.COMMITTED)


def changes(world: World) -> list[str]:
    return [order.host for order in world.log if isinstance(order, Change)]


def test_a_healthy_fleet_is_changed_canary_first_and_whole() -> None:
    world = World(Engine(plan(), fleet(40)))
    engine = world.run()
    assert engine.outcome is RunOutcome.SUCCEEDED
    assert [len(s.hosts) for s in engine.stage_plan.stages] == [3, 7, 30]
    assert sorted(changes(world)) == sorted(engine.hosts)
    assert set(changes(world)[:3]) == set(engine.stage_plan.stages[0].hosts)


def test_soak_times_pass_between_stages() -> None:
    world = World(Engine(plan(), fleet(40)))
    world.run()
    assert world.now - START == timedelta(minutes=10 + 5 + 5)


def test_the_first_failure_in_the_canary_stops_the_run_and_nothing_stays_changed() -> None:
    engine = Engine(plan(), fleet(40))
    first = World(Engine(plan(), fleet(40)))
    first.run()
    bad = first.engine.stage_plan.stages[0].hosts[0]
    world = World(engine, {bad: "breaks"})
    world.run()
    assert engine.outcome is RunOutcome.STOPPED or engine.outcome is RunOutcome.ROLLED_BACK
    assert len(changes(world)) <= 3
    assert "the run stops at 1" in engine.reason


def test_one_bad_host_after_the_canary_is_an_exception_not_a_stop() -> None:
    world = World(Engine(plan(), fleet(40)), {"h040": "breaks"})
    engine = world.run()
    assert engine.outcome is RunOutcome.WITH_EXCEPTIONS
    assert engine.results["h040"].outcome is HostOutcome.ROLLED_BACK
    assert sum(r.outcome is HostOutcome.COMMITTED for r in engine.results.values()) == 39


def test_a_host_that_gets_worse_in_soak_is_put_back_and_counts() -> None:
    probe = World(Engine(plan(), fleet(12)))
    probe.run()
    bad = probe.engine.stage_plan.stages[0].hosts[1]
    engine = World(Engine(plan(), fleet(12)), {bad: "worse in soak"}).run()
    assert engine.results[bad].outcome is HostOutcome.ROLLED_BACK
    assert engine.results[bad].failure_class is FailureClass.REGRESS
    assert engine.outcome is RunOutcome.STOPPED


def test_a_host_that_cannot_be_asked_at_the_end_of_soak_does_not_count_as_good() -> None:
    engine = World(Engine(plan(down_budget_pct=50), fleet(12)), {"h001": "silent in soak"}).run()
    assert engine.results["h001"].outcome is HostOutcome.SET_ASIDE
    assert engine.outcome is RunOutcome.WITH_EXCEPTIONS


def test_hosts_already_down_use_up_the_budget_and_a_spent_budget_holds() -> None:
    engine = World(Engine(plan(), fleet(30)), {"h001": "down", "h002": "down"}).run()
    assert engine.outcome is RunOutcome.SUCCEEDED, "one place is left, and a down host may itself be changed"
    engine = World(Engine(plan(), fleet(30)), {f"h{n:03}": "down" for n in range(10, 13)}).run()
    assert engine.outcome is RunOutcome.HELD
    engine = World(Engine(plan(), fleet(10)), {"h001": "unreachable"}).run()
    assert engine.outcome is RunOutcome.HELD
    assert "down_budget_pct" in engine.reason
    assert all(r.outcome is not HostOutcome.COMMITTED for r in engine.results.values())


def test_unreachable_hosts_are_set_aside_and_stop_the_run_at_ten_per_cent() -> None:
    few = World(Engine(plan(), fleet(40)), {"h001": "unreachable"}).run()
    assert few.outcome is RunOutcome.WITH_EXCEPTIONS
    many = World(Engine(plan(), fleet(40)), {f"h{n:03}": "unreachable" for n in range(1, 5)}).run()
    assert many.outcome is RunOutcome.STOPPED
    assert not [r for r in many.results.values() if r.outcome is HostOutcome.COMMITTED]


def test_a_host_whose_rollback_fails_stops_the_run_as_failed() -> None:
    world = World(Engine(plan(), fleet(40)), {"h040": "quarantined", "h039": "quarantined"})
    engine = world.run()
    assert engine.outcome is RunOutcome.FAILED
    assert "quarantined" in engine.reason


@pytest.mark.parametrize("then", ["roll back stage", "roll back all", "hold"])
def test_a_trigger_in_soak_acts_as_the_plan_says(then: str) -> None:
    trigger = {
        "name": "errors",
        "source": {"url": "http://m/x", "json_path": "v"},
        "above": 10,
        "lasting": "2m",
        "then": then,
    }
    figures: list[float | None] = [1.0] * 25 + [50.0] * 1000
    world = World(Engine(plan(triggers=[trigger], stages=["canary", "50%", "100%"]), fleet(30)), figures=figures)
    engine = world.run()
    committed = {n for n, r in engine.results.items() if r.outcome is HostOutcome.COMMITTED}
    stage_one = set(engine.stage_plan.stages[0].hosts)
    if then == "hold":
        assert engine.outcome is RunOutcome.HELD
    elif then == "roll back all":
        assert engine.outcome is RunOutcome.ROLLED_BACK
        assert not committed
    else:
        assert stage_one <= committed
        assert any(r.outcome is HostOutcome.ROLLED_BACK for r in engine.results.values())


def test_a_silent_source_holds_no_data_is_not_healthy() -> None:
    trigger = {"name": "errors", "source": {"url": "http://m/x", "json_path": "v"}, "above": 10}
    engine = World(Engine(plan(triggers=[trigger]), fleet(12)), figures=[None] * 500).run()
    assert engine.outcome is RunOutcome.HELD
    assert "silent 4 times" in engine.reason


def test_a_dry_run_orders_no_change() -> None:
    world = World(Engine(plan(), fleet(12), dry_run=True))
    engine = world.run()
    assert engine.outcome is RunOutcome.SUCCEEDED
    assert not changes(world)
    assert engine.stage_plan.stages


def test_a_fleet_already_at_the_target_is_left_alone() -> None:
    world = World(Engine(plan(), fleet(5)), {f"h{n:03}": "current" for n in range(1, 6)})
    assert world.run().outcome is RunOutcome.SUCCEEDED
    assert not changes(world)


def test_hosts_that_are_well_go_back_within_the_down_budget_too() -> None:
    trigger = {
        "name": "errors",
        "source": {"url": "http://m/x", "json_path": "v"},
        "above": 10,
        "then": "roll back all",
    }
    made = plan(triggers=[trigger], stages=["canary", "50%", "100%"], soak={"canary": "10m", "other": "1m"})
    figures: list[float | None] = [1.0] * 26 + [50.0] * 1000
    world = World(Engine(made, fleet(40)), figures=figures)
    while world.engine.phase is not Phase.UNDOING:
        world.step()
    undone: list[str] = []
    while not world.engine.finished:
        given = [order.host for order in world.engine.orders(world.now) if isinstance(order, Undo)]
        assert len(world.engine.in_work) <= world.engine.down_allowed == 4
        assert given, "the way back never waits for anything but the hosts on it"
        undone += given
        for host in given:
            world.engine.apply(Changed(host, HostResult(outcome=HostOutcome.ROLLED_BACK)), world.now)
    assert len(undone) == len(set(undone)) > 4
    assert world.engine.outcome is RunOutcome.ROLLED_BACK


def test_a_spent_budget_does_not_keep_hosts_from_going_back_one_at_a_time() -> None:
    trigger = {
        "name": "errors",
        "source": {"url": "http://m/x", "json_path": "v"},
        "above": 10,
        "then": "roll back all",
    }
    made = plan(triggers=[trigger], stages=["100%"], down_budget_pct=10)
    world = World(Engine(made, fleet(20)), {"h020": "lost"}, figures=[50.0] * 1000)
    while world.engine.phase is not Phase.UNDOING:
        world.step()
    world.engine._down |= {"h018", "h019", "h020"}
    assert len([o for o in world.engine.orders(world.now) if isinstance(o, Undo)]) == 1


def test_hosts_found_worse_go_back_at_once_because_they_are_down_already() -> None:
    made = plan(stages=["100%"], down_budget_pct=10)
    world = World(Engine(made, fleet(20)), {f"h{n:03}": "worse in soak" for n in range(1, 8)})
    while not any(isinstance(order, Look) for order in world.log):
        world.step()
    assert len([o for o in world.engine.orders(world.now) if isinstance(o, Undo)]) == 7


def test_a_look_that_began_before_a_host_went_back_does_not_put_it_back_again() -> None:
    engine = Engine(plan(stages=["100%"], failures={"later": {"at_least": 9}}), fleet(20))
    world = World(engine, {"h001": "worse in soak"})
    while not any(isinstance(order, Look) for order in world.log):
        world.step()
    undo = next(o for o in engine.orders(world.now) if isinstance(o, Undo))
    world.now += timedelta(minutes=1)
    look = next(o for o in engine.orders(world.now) if isinstance(o, Look))
    engine.apply(world.answer(undo), world.now)
    engine.apply(world.answer(look), world.now)
    assert not [o for o in engine.orders(world.now) if isinstance(o, Undo)]
    assert engine.results["h001"].outcome is HostOutcome.ROLLED_BACK


def test_a_host_waiting_for_its_way_back_is_not_put_on_the_list_twice() -> None:
    made = plan(stages=["100%"], at_once=1, failures={"later": {"at_least": 9}})
    world = World(Engine(made, fleet(12)), {"h001": "worse in soak", "h002": "worse in soak"})
    world.run()
    assert sorted(order.host for order in world.log if isinstance(order, Undo)) == ["h001", "h002"]


def test_a_host_that_is_not_well_at_the_last_look_goes_back_and_one_that_is_silent_does_not_count_as_good() -> None:
    engine = World(Engine(plan(), fleet(40)), {"h007": "worse at the end", "h008": "silent at the end"}).run()
    assert engine.outcome is RunOutcome.WITH_EXCEPTIONS
    assert engine.results["h007"].outcome is HostOutcome.ROLLED_BACK
    assert engine.results["h007"].failure_class is FailureClass.REGRESS
    assert engine.results["h008"].outcome is HostOutcome.SET_ASIDE
    assert "last look" in engine.results["h008"].reason
    assert len(engine._committed(engine.hosts)) == 38


def test_too_many_hosts_not_well_at_the_last_look_take_the_whole_change_back_where_the_plan_says_so() -> None:
    behaviour = {f"h{n:03}": "worse at the end" for n in range(1, 9)}
    engine = World(Engine(plan(on_stop="roll back all"), fleet(40)), behaviour).run()
    assert engine.outcome is RunOutcome.ROLLED_BACK
    assert {result.outcome for result in engine.results.values()} == {HostOutcome.ROLLED_BACK}
    assert "3 of 40 finished hosts failed (regress)" in engine.reason


def test_a_person_who_stops_a_run_does_not_wait_for_a_last_look() -> None:
    engine = Engine(plan(), fleet(12))
    world = World(engine)
    while engine.phase is not Phase.SOAKING:
        world.step()
    engine.apply(StopAsked("enough"), world.now)
    assert engine.finished


def test_hosts_found_worse_while_the_run_is_being_stopped_go_back_as_well() -> None:
    engine = Engine(plan(stages=["100%"]), fleet(20))
    world = World(engine, {"h001": "worse in soak"})
    while not any(isinstance(order, Look) for order in world.log):
        world.step()
    first = next(o for o in engine.orders(world.now) if isinstance(o, Undo))
    world.now += timedelta(minutes=1)
    look = next(o for o in engine.orders(world.now) if isinstance(o, Look))
    engine.apply(StopAsked("enough"), world.now)
    engine.apply(Looked(look.stage, {"h002": (WORSE,)}), world.now)
    second = [o for o in engine.orders(world.now) if isinstance(o, Undo)]
    assert [(o.host, o.failure_class) for o in second] == [("h002", FailureClass.REGRESS)]
    for undo in (first, *second):
        engine.apply(world.answer(undo), world.now)
    assert engine.finished
    assert engine.results["h002"].outcome is HostOutcome.ROLLED_BACK


def test_a_stage_whose_hosts_all_turn_out_to_be_current_needs_no_figures() -> None:
    trigger = {"name": "errors", "source": {"url": "http://m/x", "json_path": "v"}, "above": 10}
    world = World(Engine(plan(triggers=[trigger], stages=["100%"]), fleet(3)))
    world.change = lambda host: HostResult(outcome=HostOutcome.ALREADY_CURRENT)  # type: ignore[method-assign]
    assert world.run().outcome is RunOutcome.SUCCEEDED


def test_every_host_the_engine_itself_decides_about_is_told_what_to_do() -> None:
    engine = World(Engine(plan(down_budget_pct=50), fleet(12)), {"h001": "silent in soak", "h012": "quarantined"}).run()
    bad = [r for r in engine.results.values() if r.outcome in {HostOutcome.SET_ASIDE, HostOutcome.NOT_STARTED}]
    assert bad
    assert all(result.reason and result.remedy for result in bad)


BEHAVIOURS = st.sampled_from(
    ["fine"] * 12 + ["breaks", "unreachable", "full", "current", "down", "lost", "quarantined", "worse in soak"]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(BEHAVIOURS, min_size=1, max_size=60), st.floats(1, 100), st.integers(0, 3), st.integers(0, 80), st.data()
)
def test_whatever_happens_the_budget_holds_nothing_starts_after_a_stop_and_every_host_has_an_outcome(  # noqa: C901 - one random walk, four invariants
    kinds: list[str],
    budget: float,
    seed: int,
    stop_after: int,
    data: st.DataObject,
) -> None:
    hosts = fleet(len(kinds))
    behaviour = {host.name: kind for host, kind in zip(hosts, kinds, strict=True)}
    engine = Engine(
        plan(
            down_budget_pct=budget,
            seed=seed,
            on_stop=data.draw(st.sampled_from(["keep", "roll back stage", "roll back all"])),
        ),
        hosts,
    )
    world = World(engine, behaviour)
    open_orders: list[object] = []
    started_after_stop: list[str] = []
    changed: list[str] = []
    for turn in range(20_000):
        if engine.finished:
            break
        if turn == stop_after:
            engine.apply(StopAsked("asked"), world.now)
        stopped = engine.stop is not None
        orders = engine.orders(world.now)
        started = [o.host for o in orders if isinstance(o, Change)]
        changed += started
        if stopped:
            started_after_stop += started
        if started:
            assert len(engine.in_work | engine.sick) <= engine.down_allowed
        open_orders += orders
        if open_orders:
            order = open_orders.pop(data.draw(st.integers(0, len(open_orders) - 1)))
            engine.apply(world.answer(order), world.now)
        elif not engine.finished:
            wake = engine.wake_at()
            assert wake is not None
            world.now = max(world.now, wake)
    assert engine.finished
    assert not started_after_stop
    assert len(changed) == len(set(changed)), "no host is changed twice"
    assert set(engine.results) == set(engine.hosts)
    assert engine.outcome is not None
    if engine.outcome is RunOutcome.SUCCEEDED:
        assert all(r.outcome in {HostOutcome.COMMITTED, HostOutcome.ALREADY_CURRENT} for r in engine.results.values())


@given(st.integers(1, 40), st.integers(0, 60), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_a_run_killed_anywhere_and_resumed_ends_as_if_nothing_had_happened(
    size: int, killed_after: int, random: Random
) -> None:
    behaviour = {h.name: random.choice(["", "", "", "full", "breaks", "lost", "unreachable"]) for h in fleet(size)}
    whole = World(Engine(plan(), fleet(size)), behaviour).run()
    engine = Engine(plan(), fleet(size))
    world = World(engine, behaviour)
    planned = False
    for _ in range(killed_after):
        if engine.finished:
            break
        world.step()
        planned = engine.phase is not Phase.CHECKING
    if engine.finished or not planned:
        return
    begun = tuple(engine.in_work)
    left = Interrupted(
        stage_plan=engine.stage_plan,
        results={name: r for name, r in engine.results.items() if name not in begun},
        verdicts=tuple(engine.verdicts),
        begun=begun,
        stop=engine.stop,
    )
    resumed = World(Engine.resumed(plan(), fleet(size), left, now=world.now), behaviour).run()
    assert (resumed.outcome, resumed.results) == (whole.outcome, whole.results)


def test_a_resumed_run_finishes_hosts_in_work_even_after_a_stop_and_starts_no_other() -> None:
    engine = Engine(plan(stages=["100%"], down_budget_pct=100), fleet(4))
    World(engine).step()
    begun = [order.host for order in engine.orders(START) if isinstance(order, Change)][:2]
    left = Interrupted(engine.stage_plan, results={}, begun=tuple(begun), stop=Stop(StopKind.ASKED, "enough"))
    resumed = World(Engine.resumed(plan(stages=["100%"]), fleet(4), left, now=START))
    assert {host for host, r in resumed.run().results.items() if r.outcome is HostOutcome.COMMITTED} == set(begun)


def closes(at: datetime) -> Callable[[datetime], str]:
    return lambda now: f"the window closes {at:%H:%M}" if now >= at else ""


class SlowWorld(World):
    """Hosts whose change takes ten minutes of the clock; `ordered` says when each was ordered."""

    def run(self, limit: int = 20_000) -> Engine:
        self.ordered: dict[str, datetime] = {}
        return super().run(limit)

    def step(self) -> None:
        asked, orders = self.now, len(self.log)
        super().step()
        self.ordered |= {order.host: asked for order in self.log[orders:] if isinstance(order, Change)}

    def answer(self, order: object) -> Checked | Changed | Looked:
        if isinstance(order, Change):
            self.now += timedelta(minutes=10)
        return super().answer(order)


def test_no_host_is_ordered_after_the_cutoff_those_in_work_finish_and_the_rest_is_left_for_a_retry() -> None:
    cutoff = START + timedelta(minutes=45)
    engine = Engine(plan(stages=["100%"]), fleet(12), may_start=closes(cutoff))
    world = SlowWorld(engine)
    world.run()
    assert changes(world), "hosts before the cutoff had their turn"
    assert all(at < cutoff for at in world.ordered.values())
    assert engine.outcome is RunOutcome.STOPPED
    assert engine.reason == f"the window closes {cutoff:%H:%M}"
    assert engine.stop is not None
    assert (engine.stop.kind, engine.stop.undo) == (StopKind.WINDOW, "keep")
    done = {name for name, result in engine.results.items() if result.outcome is HostOutcome.COMMITTED}
    left = {name: result for name, result in engine.results.items() if result.outcome is HostOutcome.NOT_STARTED}
    assert done == set(changes(world))
    assert done | set(left) == set(engine.hosts)
    assert all("window closes" in result.reason and "upkeep retry" in result.remedy for result in left.values())
    assert not [order for order in world.log if isinstance(order, Undo)]


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 60), minutes=st.integers(0, 400), pct=st.sampled_from([10, 50, 100]))
def test_wherever_the_cutoff_falls_every_host_began_before_it_and_has_an_outcome(size, minutes, pct) -> None:
    cutoff = START + timedelta(minutes=minutes)
    world = SlowWorld(Engine(plan(down_budget_pct=pct), fleet(size), may_start=closes(cutoff)))
    engine = world.run()
    assert all(at < cutoff for at in world.ordered.values())
    assert set(engine.results) == set(engine.hosts)
    assert (engine.outcome is RunOutcome.SUCCEEDED) == (len(changes(world)) == size)


def test_hosts_in_work_when_the_window_closes_are_finished_and_those_that_turn_bad_still_go_back() -> None:
    engine = Engine(plan(stages=["100%"], down_budget_pct=50), fleet(8), may_start=closes(START + timedelta(minutes=1)))
    for order in engine.orders(START):
        assert isinstance(order, Check)
        engine.apply(Checked(order.host, HostFacts()), START)
    begun = [order.host for order in engine.orders(START) if isinstance(order, Change)]
    assert len(begun) == 4
    late = START + timedelta(minutes=5)
    engine.apply(Changed(begun[0], HostResult(outcome=HostOutcome.COMMITTED)), late)
    assert engine.orders(late) == []
    assert engine.in_work == set(begun[1:])
    assert not engine.finished
    for name in begun[1:]:
        engine.apply(Changed(name, HostResult(outcome=HostOutcome.COMMITTED)), late)
    assert engine.orders(late) == [Look(LAST_LOOK, tuple(sorted(begun)))]
    engine.apply(Looked(LAST_LOOK, {begun[0]: (WORSE,)}), late)
    (undo,) = engine.orders(late)
    assert isinstance(undo, Undo)
    assert (undo.host, undo.stage) == (begun[0], "100 %")
    engine.apply(Changed(undo.host, HostResult(outcome=HostOutcome.ROLLED_BACK)), late)
    assert engine.finished
    assert len([r for r in engine.results.values() if r.outcome is HostOutcome.NOT_STARTED]) == 4


def test_a_resumed_run_finishes_its_hosts_in_work_and_starts_none_outside_the_window() -> None:
    whole = Engine(plan(stages=["100%"]), fleet(12))
    for order in whole.orders(START):
        assert isinstance(order, Check)
        whole.apply(Checked(order.host, HostFacts()), START)
    left = Interrupted(stage_plan=whole.stage_plan, results={}, begun=("h003",))
    engine = Engine.resumed(plan(stages=["100%"]), fleet(12), left, now=START, may_start=lambda _: "a freeze holds")
    world = World(engine)
    world.run()
    assert changes(world) == ["h003"]
    assert engine.results["h003"].outcome is HostOutcome.COMMITTED
    assert engine.reason == "a freeze holds"


def test_a_dry_run_is_bound_by_no_window() -> None:
    engine = World(Engine(plan(), fleet(12), dry_run=True, may_start=lambda _: "closed")).run()
    assert engine.outcome is RunOutcome.SUCCEEDED
