"""A simulated host: what lies on its disk, what runs, and who may write, whatever happens to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from random import Random

from upkeep.domain.change import UNFINISHED, JournalState
from upkeep.domain.facts import HostFacts
from upkeep.errors import HostError, Unreachable, UpkeepError
from upkeep.rehearsal.timeline import Due, Timeline

OLD, NEW = "1.0.0", "2.0.0"

Script = Generator[float, None, object]
"""A script on the host: it yields how many seconds pass before its next effect and returns its answer."""

Reply = Callable[[object, UpkeepError | None], None]

BOOT_SECONDS = (20.0, 120.0)


@dataclass
class Behaviour:
    """How the versions behave on one host; the defaults are a good release and a sound host."""

    starts: bool = True
    dies_after: float | None = None
    registers: bool = True
    disk_full: bool = False
    rollbacks_that_fail: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the new version is well here for good."""
        return self.starts and self.registers and self.dies_after is None


@dataclass
class SimLock:
    """Whose the host is."""

    run: str
    fence: int
    until: float


@dataclass
class SimJournal:
    """The host's own record of its change."""

    state: JournalState = JournalState.NONE
    run: str = ""
    fence: int = 0
    actor: str = ""
    reason: str = ""
    before: str = OLD


class Watcher:
    """Told of everything that changes on a host; here nobody looks."""

    def begins(self, host: SimHost, run: str, phase: str) -> None:
        """A script of `run` has the host's writer lock."""

    def touched(self, host: SimHost) -> None:
        """Something is different."""

    def guard_acts(self, host: SimHost) -> None:
        """The dead-man switch puts the host back."""


@dataclass
class _Waiting:
    script: Callable[[], Script]
    reply: Reply
    owner: str


@dataclass
class SimHost:
    """One host; `cut` is a network that is away, `up` a machine that is on."""

    name: str
    timeline: Timeline
    random: Random
    behaviour: Behaviour = field(default_factory=Behaviour)
    watcher: Watcher = field(default_factory=Watcher)
    facts: HostFacts = field(default_factory=HostFacts)
    linked: str = OLD
    running: str | None = OLD
    up: bool = True
    cut: bool = False
    journal: SimJournal = field(default_factory=SimJournal)
    lock: SimLock | None = None
    fence: int = 0
    backups: set[str] = field(default_factory=set)
    restarting: bool = False
    clock_skew: float = 0.0
    dead_man: float = 600.0
    guard_deadline: float | None = None
    guard_fired: int = 0
    _guard: Due | None = None
    _guard_tries: int = 0
    _starts: int = 0
    _script: _Waiting | None = None
    _due: Due | None = None
    _queue: deque[_Waiting] = field(default_factory=deque)

    @property
    def answers(self) -> bool:
        """Whether the host can be talked to."""
        return self.up and not self.cut

    @property
    def serving(self) -> bool:
        """Whether the agent does its work."""
        return (
            self.up
            and self.running is not None
            and (self.running == OLD or (self.behaviour.starts and self.behaviour.registers))
        )

    @property
    def well(self) -> bool:
        """Whether exactly one good version is installed and running, with no change half done."""
        return self.serving and self.running == self.linked and self.journal.state not in UNFINISHED

    @property
    def is_broken(self) -> bool:
        """Whether the agent is down, or of no use, for another reason than a restart or a host that is off."""
        return self.up and not self.serving and not self.restarting

    @property
    def clock(self) -> float:
        """Seconds by the host's own clock."""
        return self.timeline.seconds + self.clock_skew

    def run(self, script: Callable[[], Script], reply: Reply, *, owner: str = "", writes: bool = True) -> None:
        """Run a script: those that write wait for each other, and a power cut ends them all."""
        waiting = _Waiting(script, reply, owner)
        if not writes:
            self._read(waiting)
        elif self._script is None:
            self._begin(waiting)
        else:
            self._queue.append(waiting)

    def power_cut(self, off_for: float | None = None) -> None:
        """Everything stops where it is; the host boots again by itself after `off_for` seconds (random when None)."""
        if not self.up:
            return
        broken, self._queue = [w for w in (self._script, *self._queue) if w], deque()
        self._script = None
        for due in (self._due, self._guard):
            if due is not None:
                due.cancel()
        self._due = self._guard = self.guard_deadline = None
        self.up, self.running = False, None
        self._starts += 1
        self.watcher.touched(self)
        for waiting in broken:
            waiting.reply(None, Unreachable(self.name, "the connection broke", remedy="look why the host restarted"))
        seconds = self.random.uniform(*BOOT_SECONDS) if off_for is None else off_for
        if seconds != float("inf"):
            self.timeline.after(seconds, self.boot)

    def boot(self) -> None:
        """Come up again: the agent starts, and the dead-man switch finishes what was cut."""
        if self.up:
            return
        self.up = True
        if self.journal.state is JournalState.SWITCHED:
            self.arm(self.dead_man)
        self.start()
        if self.journal.state in {JournalState.ARMED, JournalState.ROLLING_BACK}:
            self._fire()
        self.watcher.touched(self)

    def hang_up(self, owner: str) -> None:
        """The controller is gone: scripts still waiting for it end, the one at work ends or goes on."""
        self._queue = deque(w for w in self._queue if w.owner != owner)
        if self._script is not None and self._script.owner == owner and self.random.random() < 0.5:  # noqa: PLR2004 - a coin
            if self._due is not None:
                self._due.cancel()
            self._script = self._due = None
            self._next()

    def start(self) -> bool:
        """Start the version that is linked; False when it does not come up."""
        self._starts += 1
        self.restarting = False
        is_new = self.linked == NEW
        self.running = self.linked if not is_new or self.behaviour.starts else None
        if is_new and self.running and self.behaviour.dies_after is not None:
            this_start = self._starts
            self.timeline.after(self.behaviour.dies_after, lambda: self._die(this_start))
        self.watcher.touched(self)
        return self.running is not None

    def become(self, behaviour: Behaviour) -> None:
        """Behave otherwise from now on."""
        self.behaviour = behaviour
        self.watcher.touched(self)

    def stop(self) -> None:
        """Stop the agent, to start it again soon."""
        self._starts += 1
        self.running, self.restarting = None, True
        self.watcher.touched(self)

    def arm(self, seconds: float) -> None:
        """Let the dead-man switch fire in so many seconds."""
        self.disarm()
        self.dead_man, self._guard_tries = seconds, 0
        self.guard_deadline = self.timeline.seconds + seconds
        self._guard = self.timeline.after(seconds, self._fire)

    def disarm(self) -> None:
        """Take the dead-man switch away."""
        if self._guard is not None:
            self._guard.cancel()
        self._guard = self.guard_deadline = None

    def put_back(self, actor: str, reason: str) -> Script:
        """Restore the version from before the change and start it; safe to be cut anywhere and begun again."""
        self.journal.state, self.journal.actor, self.journal.reason = JournalState.ROLLING_BACK, actor, reason
        self.watcher.touched(self)
        yield self.random.uniform(0.1, 1)
        if self.behaviour.rollbacks_that_fail > 0:
            self.behaviour.rollbacks_that_fail -= 1
            raise HostError(self.name, "the old binary cannot be restored", remedy="restore it from the backup by hand")
        self.stop()
        yield self.random.uniform(0.1, 1)
        self.linked = self.journal.before
        self.watcher.touched(self)
        yield self.random.uniform(1, 5)
        self.start()
        self.journal.state = JournalState.ROLLED_BACK
        self.disarm()
        self.watcher.touched(self)
        return self.journal

    def _die(self, start: int) -> None:
        if start == self._starts:
            self.running = None
            self.watcher.touched(self)

    def _fire(self) -> None:
        self._guard = None
        self.run(self._guard_script, self._guard_done, owner="guard")

    def _guard_script(self) -> Script:
        if self.journal.state not in {JournalState.ARMED, JournalState.SWITCHED, JournalState.ROLLING_BACK}:
            return None
        run = self.journal.run
        self.watcher.guard_acts(self)
        self.guard_fired += 1
        yield from self.put_back("guard", "no commit within the dead-man time")
        if self.lock is not None and self.lock.run == run:
            self.lock = None
        return None

    def _guard_done(self, _answer: object, error: UpkeepError | None) -> None:
        self.guard_deadline = None
        self._guard_tries += 1
        if error is not None and self.up and self._guard_tries < 5:  # noqa: PLR2004 - as the script on the host
            self._guard = self.timeline.after(10.0 * self._guard_tries, self._fire)

    def _read(self, waiting: _Waiting) -> None:
        def answer() -> None:
            if not self.up:
                waiting.reply(None, Unreachable(self.name, "the connection broke", remedy="look why it restarted"))
                return
            try:
                for _ in (script := _Answered(waiting.script())):
                    pass
            except UpkeepError as error:
                waiting.reply(None, error)
            else:
                waiting.reply(script.answer, None)

        self.timeline.after(self.random.uniform(0.05, 2), answer)

    def _begin(self, waiting: _Waiting) -> None:
        self._script = waiting
        script = waiting.script()
        self._go_on(waiting, script)

    def _go_on(self, waiting: _Waiting, script: Script) -> None:
        if self._script is not waiting:
            return
        try:
            seconds = next(script)
        except StopIteration as end:
            self._ended(waiting, end.value, None)
        except UpkeepError as error:
            self._ended(waiting, None, error)
        else:
            self._due = self.timeline.after(seconds, lambda: self._go_on(waiting, script))

    def _ended(self, waiting: _Waiting, answer: object, error: UpkeepError | None) -> None:
        self._script = self._due = None
        self.watcher.touched(self)
        waiting.reply(answer, error)
        self._next()

    def _next(self) -> None:
        if self._script is None and self._queue:
            self._begin(self._queue.popleft())


class _Answered:
    """A script's pauses, with its answer kept."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.answer: object = None

    def __iter__(self) -> Generator[float, None, None]:
        self.answer = yield from self._script
