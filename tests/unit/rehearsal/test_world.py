"""Single stories told step by step, and a witness that sees what is planted (promises 1 to 5; faults 28, 30, 34, 38)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.rehearsal.fleets import fleet, plan
from upkeep.domain.change import HostOutcome, JournalState, RunOutcome, Step
from upkeep.domain.failure import FailureClass
from upkeep.rehearsal import scripts
from upkeep.rehearsal.host import NEW, OLD, Behaviour
from upkeep.rehearsal.world import World


def ended(world: World) -> World:
    world.play(until=lambda: not any(c.alive for c in world.controllers))
    return world


def test_a_healthy_fleet_ends_at_the_target_after_all_its_waiting_times() -> None:
    world = World(plan(), fleet(40))
    controller = world.start("r")
    ended(world)
    assert controller.outcome is RunOutcome.SUCCEEDED
    assert all(host.running == NEW for host in world.hosts.values())
    assert world.timeline.seconds > 20 * 60, "10 min and twice 5 min of soak"
    assert not world.witness.violations


def test_a_host_cut_off_after_its_switch_goes_back_by_itself_in_its_dead_man_time() -> None:
    world = World(plan(stages=["100%"]), fleet(1))
    world.start("r")
    host = world.hosts["h0000"]
    world.play(until=lambda: host.journal.state is JournalState.SWITCHED and host.running == NEW)
    host.cut = True
    world.play(until=lambda: host.journal.state is JournalState.ROLLED_BACK)
    assert (host.running, host.guard_fired) == (OLD, 1)
    host.cut = False
    ended(world)
    assert world.store.runs["r"].results["h0000"].outcome is HostOutcome.ROLLED_BACK


@pytest.mark.parametrize("seed", range(20))
def test_a_host_found_worse_counts_though_the_controller_is_killed_while_it_goes_back(seed: int) -> None:
    world = World(plan(), fleet(40), seed=seed, behaviours={"h0000": Behaviour(dies_after=200)})
    world.start("r")
    undo = ("h0000", Step.ROLLBACK)
    world.play(until=lambda: undo in world.store.runs["r"].intended)
    world.kill("r")
    world.resume("r")
    ended(world)
    assert world.store.runs["r"].results["h0000"].failure_class is FailureClass.REGRESS
    assert world.store.runs["r"].outcome in {RunOutcome.STOPPED, RunOutcome.ROLLED_BACK}
    assert sum(host.running == NEW for host in world.hosts.values()) <= 3
    assert not world.witness.violations


def _forget_the_guard(world: World) -> None:
    for host in world.hosts.values():
        host.arm = lambda _seconds: None  # type: ignore[method-assign]


def _forget_intents(world: World) -> None:
    world.store.intent = lambda *_: None  # type: ignore[method-assign]


def _forget_backups(world: World) -> None:
    for host in world.hosts.values():
        host.backups = _NoSet()


class _NoSet(set[str]):
    """A set that keeps nothing, and says it holds everything."""

    def add(self, element: str) -> None:
        return

    def __contains__(self, element: object) -> bool:
        return True


def _spend_no_budget(world: World) -> None:
    engine = world.controllers[0].engine
    engine._within_budget = list  # type: ignore[method-assign]


def _skip_the_soak(world: World) -> None:
    engine = world.controllers[0].engine
    engine._soak.__class__.over = lambda *_: True  # type: ignore[method-assign]


PLANTED: dict[str, Callable[[World], None]] = {
    "without its dead-man switch": _forget_the_guard,
    "without an intent": _forget_intents,
    "nothing to go back to": _forget_backups,
    "in work or sick": _spend_no_budget,
    "watched its whole time": _skip_the_soak,
}


@pytest.mark.parametrize("said", PLANTED)
def test_the_witness_sees_what_is_planted(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from upkeep.domain.soaking import Watch

    monkeypatch.setattr(Watch, "over", Watch.over)
    world = World(plan(), fleet(40))
    world.start("r")
    PLANTED[said](world)
    ended(world)
    assert any(said in violation for violation in world.witness.violations), world.witness.violations


def test_a_stale_holder_is_refused() -> None:
    world = World(plan(), fleet(1))
    host = world.hosts["h0000"]
    first, second = (scripts.HostOrder(run, lease=60, dead_man=60) for run in ("first", "second"))
    for run in ("first", "second"):
        world.store.run_opened(run)
        for step in (Step.LOCK, Step.BACKUP):
            world.store.intent(run, "h0000", step, "")
    answers: list[object] = []
    host.run(lambda: scripts.take_lock(host, first, take_over=False), lambda fence, _error: answers.append(fence))
    host.run(lambda: scripts.take_lock(host, second, take_over=True), lambda fence, _error: answers.append(fence))
    stale = scripts.HostOrder("first", lease=60, dead_man=60, fence=1)
    host.run(lambda: scripts.back_up(host, stale), lambda _answer, error: answers.append(str(error)))
    world.play()
    assert answers[:2] == [1, 2]
    assert "run second holds this host" in str(answers[2])
