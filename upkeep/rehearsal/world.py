"""A simulated fleet with its network, history and controllers; the same seed always gives the same story."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from random import Random

from upkeep.domain.engine import Engine, Interrupted, MayStart, at_any_time
from upkeep.domain.facts import HostFacts
from upkeep.domain.interruption import interrupted
from upkeep.domain.inventory import Host
from upkeep.domain.plan import Plan, Trigger
from upkeep.errors import UpkeepError
from upkeep.rehearsal.controller import Controller
from upkeep.rehearsal.host import Behaviour, SimHost
from upkeep.rehearsal.host_work import Network
from upkeep.rehearsal.store import Store
from upkeep.rehearsal.timeline import Timeline
from upkeep.rehearsal.witness import Witness

START = datetime(2026, 1, 5, 22, 0, tzinfo=UTC)
MOST_EVENTS = 20_000_000


class World:
    """One simulated fleet. Runs are started, killed and resumed in it; `witness` sees what happens."""

    def __init__(
        self,
        plan: Plan,
        hosts: Iterable[Host],
        *,
        seed: int = 0,
        behaviours: Mapping[str, Behaviour] | None = None,
        facts: Mapping[str, HostFacts] | None = None,
        begins: datetime = START,
        may_start: MayStart = at_any_time,
    ) -> None:
        self.plan, self.inventory, self.random = plan, {host.name: host for host in hosts}, Random(seed)
        self.timeline, self._may_start = Timeline(begins), may_start
        self.store = Store(lambda: self.timeline.now)
        self.network = Network(self.timeline, self.random)
        self.witness = Witness(self.timeline, self.store)
        self.controllers: list[Controller] = []
        self.figures: Callable[[Trigger], float | None] = within_limit
        self.hosts = {
            name: SimHost(
                name,
                self.timeline,
                self.random,
                behaviour=(behaviours or {}).get(name) or Behaviour(),
                watcher=self.witness,
                facts=(facts or {}).get(name) or HostFacts(os_id="linux", machine="x86_64"),
            )
            for name in self.inventory
        }

    def start(self, run: str, names: Iterable[str] | None = None) -> Controller:
        """Begin a run over all hosts, or over these."""
        targets = [self.inventory[name] for name in (self.inventory if names is None else names)]
        return self._begin(run, self._engine(targets))

    def kill(self, run: str) -> None:
        """SIGKILL for the run's controller."""
        for controller in self.controllers:
            if controller.run == run and controller.alive:
                controller.kill()
                self.witness.killed(run)

    def resume(self, run: str) -> Controller | None:
        """Go on with a run whose controller died; None when there is nothing to go on with."""
        lines = self.store.runs.get(run)
        if lines is None or lines.outcome or self.lives(run):
            return None
        targets = next(c.engine.hosts.values() for c in self.controllers if c.run == run)
        left, fleet_size = interrupted(lines.events), len(self.inventory)
        self.witness.killed(run)
        if left is None:
            return self._begin(run, self._engine(targets))
        now, may_start = self.timeline.now, self._may_start
        engine = Engine.resumed(self.plan, targets, left, now=now, fleet_size=fleet_size, may_start=may_start)
        return self._begin(run, engine, left)

    def lives(self, run: str) -> bool:
        """Whether a controller with this run is alive."""
        return any(c.alive for c in self.controllers if c.run == run)

    def is_over(self, run: str) -> bool:
        """Whether the run is closed, or its controller known to be dead."""
        return not self.lives(run)

    def play(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until `until` holds or nothing is left to happen.

        Raises:
            UpkeepError: the story never ends.
        """
        for _ in range(MOST_EVENTS):
            if until() or not self.timeline.next():
                return
        raise UpkeepError(f"a rehearsal that never ends: {self.timeline.seconds:.0f} simulated seconds")

    def heal(self) -> None:
        """Every fault is removed: hosts up and reachable, the history writable, both versions good."""
        self.store.refuses = lambda _write: ""
        self.network.loses = lambda _call, _host: ""
        self.figures = within_limit
        for host in self.hosts.values():
            host.become(Behaviour())
            host.cut, host.clock_skew = False, 0.0
            host.boot()
            if host.running is None and not host.restarting:
                host.start()

    def _figure(self, trigger: Trigger) -> float | None:
        return self.figures(trigger)

    def _engine(self, targets: Iterable[Host]) -> Engine:
        return Engine(self.plan, targets, fleet_size=len(self.inventory), may_start=self._may_start)

    def _begin(self, run: str, engine: Engine, left: Interrupted | None = None) -> Controller:
        controller = Controller(
            run,
            engine,
            self.hosts,
            self.network,
            self.store,
            random=self.random,
            is_over=self.is_over,
            figures=self._figure,
            listener=self.witness,
            left=left,
        )
        self.controllers.append(controller)
        controller.start()
        return controller


def within_limit(trigger: Trigger) -> float | None:
    """A figure no trigger minds."""
    return trigger.above - 1 if trigger.above is not None else (trigger.below or 0) + 1


def beyond_limit(trigger: Trigger) -> float | None:
    """A figure beyond the trigger's limit."""
    return trigger.above + 1 if trigger.above is not None else (trigger.below or 0) - 1


def no_figure(_trigger: Trigger) -> float | None:
    """A silent source."""
    return None
