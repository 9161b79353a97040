"""Conducting a run: the engine's orders become tasks, what came of them goes back to the engine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue

from prefect.exceptions import Pause

from flows.handing_out import submitted
from flows.opening import HOSTS_AT_ONCE
from tasks.batches import Begin, Begun, host_tasks
from tasks.collect import answer_for
from tasks.keep_approvals import ApprovalKeeper
from tasks.may_start import MayStart
from tasks.session import RunSession
from tasks.shards import Shards, shards_for
from tasks.steady_clock import steady_now, wall_now
from tasks.suspension import suspension
from upkeep.domain.approval_rule import Awaited
from upkeep.domain.engine import Engine
from upkeep.domain.orders import Change, Changed, Checked, Event, Look, Order, StopAsked, Undo

STOP_ASKED_EVERY = timedelta(seconds=2)

Answers = SimpleQueue[tuple[Order, Begun]]


def engine_of(session: RunSession, *, last_look: bool = True) -> Engine:
    """The engine of a run that begins, or of one that goes on."""
    record, may_start = session.record, MayStart(session.history, session.record)
    approvals = ApprovalKeeper(session.history, record)

    def awaits(stage: str, place: int, _steady: datetime) -> Awaited | None:
        return approvals.awaits(stage, place, wall_now())

    if session.left is None or record.dry_run:
        engine = Engine(
            record.plan,
            record.targets,
            fleet_size=record.fleet_size,
            dry_run=record.dry_run,
            may_start=may_start,
            awaits=awaits,
            last_look=last_look,
        )
    else:
        engine = Engine.resumed(
            record.plan,
            record.targets,
            session.left,
            now=steady_now(),
            fleet_size=record.fleet_size,
            may_start=may_start,
            awaits=awaits,
            last_look=last_look,
        )
    may_start.stage = lambda: engine.stage.name if engine.stage else ""
    return engine


def conduct(session: RunSession, engine: Engine) -> None:
    """Carry out orders until the engine is finished, or waits for people, and nothing is in work.

    Raises:
        Pause: the run was suspended in Prefect's UI; the hosts in work were finished, and what comes next is for the resumed run.
    """
    with shards_for(session) as shards, host_tasks(len(session.hosts), HOSTS_AT_ONCE) as begin:
        _conduct(session, engine, partial(_hand_out, session, shards, begin))


def _conduct(session: RunSession, engine: Engine, hand_out: Callable[[Order, Answers], None]) -> None:
    answers: Answers = SimpleQueue()
    open_orders = 0
    suspended: Pause | None = None
    stages = StageBook(session, engine)
    stages.note()
    while open_orders or not (engine.finished or suspended or engine.waits_for):
        suspended = suspended or suspension()
        for order in [] if suspended else engine.orders(steady_now()):
            stages.note()
            hand_out(order, answers)
            open_orders += 1
        for event in _wait(session, answers, None if suspended else engine.wake_at()):
            open_orders -= 1
            if isinstance(event, Pause):
                suspended = event
                continue
            _write_down(session, event)
            engine.apply(event, steady_now())
        stages.note()
        _listen_for_stop(session, engine)
    if suspended:
        raise suspended
    if engine.finished:
        _write_down_the_rest(session, engine)


def _hand_out(session: RunSession, shards: Shards | None, begin: Begin, order: Order, answers: Answers) -> None:
    def done(future: Begun) -> None:
        answers.put((order, future))

    if shards is None or isinstance(order, Look):
        submitted(session, order, begin).add_done_callback(done)
    else:
        shards.hand_out(order, done)


def _wait(session: RunSession, answers: Answers, wake_at: datetime | None) -> list[Event | Pause]:
    """The next answers, all that are there; none when it is time for new orders or to listen for a stop."""
    seconds = STOP_ASKED_EVERY.total_seconds()
    if wake_at is not None:
        seconds = max(0.0, min(seconds, (wake_at - steady_now()).total_seconds()))
    got: list[Event | Pause] = []
    try:
        order, future = answers.get(timeout=seconds)
        while True:
            got.append(_answer(session, order, future))
            order, future = answers.get_nowait()
    except Empty:
        return got


def _answer(session: RunSession, order: Order, future: Begun) -> Event | Pause:
    kept = session.take_answer(order.host) if isinstance(order, (Change, Undo)) else None
    try:
        return answer_for(order, future.result)
    except Pause as pause:
        return kept or pause


def _write_down(session: RunSession, event: Event) -> None:
    if isinstance(event, (Checked, Changed)) and event.result is not None:
        session.history.host_result(session.record.id, event.host, event.result)


def _listen_for_stop(session: RunSession, engine: Engine) -> None:
    reason = session.cancelled or session.history.stop_requested(session.record.id)
    if engine.stop is None and reason:
        engine.apply(StopAsked(reason), steady_now())


def _write_down_the_rest(session: RunSession, engine: Engine) -> None:
    """Hosts the engine decided about by itself: never started, or set aside after their commit."""
    written = session.history.run(session.record.id).hosts
    for name, result in engine.results.items():
        if name not in written or written[name].outcome is not result.outcome:
            session.history.host_result(session.record.id, name, result)


class StageBook:
    """Writes stages into the history as the engine opens and closes them."""

    def __init__(self, session: RunSession, engine: Engine) -> None:
        self._session, self._engine = session, engine
        left = session.left
        self._opened = {stage.name for stage in session.history.run(session.record.id).stages}
        self._verdicts = len(left.verdicts) if left else 0
        self._planned, self._stopped = left is not None, left is not None and left.stop is not None

    def note(self) -> None:
        """Write down what is new: the plan of stages once it is made, a stop, verdicts, the stage in work."""
        history, run, engine = self._session.history, self._session.record.id, self._engine
        if not self._planned and engine.stage_plan.stages:
            self._planned = True
            history.stages_planned(run, engine.stage_plan)
        if not self._stopped and engine.stop is not None:
            self._stopped = True
            history.stop_decided(run, engine.stop)
        for verdict in engine.verdicts[self._verdicts :]:
            self._verdicts += 1
            self._open(verdict.stage)
            history.stage_closed(run, verdict.stage, verdict.decision.value, verdict.reason)
        if engine.stage is not None and not engine.dry_run and not engine.finished:
            self._open_approved(engine.stage.name)

    def _open_approved(self, name: str) -> None:
        if name not in self._opened and self._engine.approval_missing(steady_now()) is None:
            self._open(name)

    def _open(self, name: str) -> None:
        if name not in self._opened:
            self._opened.add(name)
            hosts = next(stage.hosts for stage in self._engine.stage_plan.stages if stage.name == name)
            self._session.history.stage_opened(self._session.record.id, name, hosts)
