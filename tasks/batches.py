"""How hosts' work becomes tasks of Prefect: one for each host in a small run, one for a batch of hosts in a large one.

A recorded task costs the Prefect server about 9 ms of CPU (docs/scale.md), and nobody opens a thousand of them. Which host is where
comes from the history either way.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed

from tasks.suspension import suspension
from upkeep.errors import Cancelled

LARGE_RUN_HOSTS = 20
"""Runs over more hosts than this are worked on in batches."""
BATCH_HOSTS = 25

Begun = PrefectFuture[Any] | Future[Any]
Begin = Callable[..., Begun]
"""`begin(step, session, host, *rest)`: the step of one host, begun in this process."""


@contextmanager
def host_tasks(hosts: int, at_once: int) -> Iterator[Begin]:
    """How steps are begun in a run over so many hosts; large runs work on at most `at_once` hosts at a time."""
    if hosts <= LARGE_RUN_HOSTS:
        yield _task_of_its_own
        return
    threads = ThreadPoolExecutor(at_once, thread_name_prefix="host")
    batches = Batches(threads)
    try:
        yield batches.begin
    finally:
        batches.close()
        threads.shutdown(cancel_futures=True)


def _task_of_its_own(step: Task[..., Any], *arguments: Any) -> Begun:  # noqa: ANN401 - each step has its own
    return step.submit(*arguments)


@task(name="batch", task_run_name="{title}", cache_policy=NO_CACHE)
def work_on_batch(title: str, batch: Batch) -> State[Any]:
    """Work on a batch of hosts until it is full and every host has its answer."""
    del title
    return batch.work()


class Batches:
    """Fills one batch for each kind of step after the other; safe to use from one thread."""

    def __init__(
        self, threads: ThreadPoolExecutor, submit: Callable[[str, Batch], PrefectFuture[Any]] = work_on_batch.submit
    ) -> None:
        self._threads, self._submit = threads, submit
        self._filling: dict[str, Batch] = {}

    def begin(self, step: Task[..., Any], *arguments: Any) -> Begun:  # noqa: ANN401 - each step has its own
        """Give a step of one host to the batch that is being filled, or to a new one."""
        work = HostWork(step, arguments)
        batch = self._filling.get(step.name)
        if batch is None or not batch.take(work):
            batch = self._filling[step.name] = Batch(self._threads, work)
            self._submit(f"{step.name} {work.host} and others", batch).add_done_callback(batch.ended)
        return work.answer

    def close(self) -> None:
        """Fill no further: every batch ends with the hosts that it has."""
        for batch in self._filling.values():
            batch.close()


class HostWork:
    """One step of one host: what is called with what, and its answer."""

    def __init__(self, step: Task[..., Any], arguments: tuple[Any, ...]) -> None:
        self._call, self._arguments = step.fn, arguments
        self.host = str(arguments[1])
        self.answer: Future[Any] = Future()

    def do(self) -> None:
        """Call it, unless the run was suspended meanwhile; whatever it raises is its answer."""
        if pause := suspension():
            self.answer.set_exception(pause)
            return
        try:
            self.answer.set_result(self._call(*self._arguments))
        except BaseException as error:  # noqa: BLE001 - the per-host boundary; a defect is the host's answer too
            self.answer.set_exception(error)

    def ended(self, call: Future[None]) -> None:
        """A call that was taken back, because the run ends, is an answer as well."""
        if call.cancelled():
            self.left_out()

    def left_out(self) -> None:
        """Answer that this host was never begun."""
        self.answer.set_exception(Cancelled("the run ended before this host was begun"))


class Batch:
    """Hosts' work that is one task. It takes more until it is full, or until every host it has got is done."""

    def __init__(self, threads: ThreadPoolExecutor, first: HostWork) -> None:
        self._threads = threads
        self._coming: SimpleQueue[HostWork | None] = SimpleQueue()
        self._all: list[HostWork] = []
        self._open = 0
        self._closed = False
        self._lock = threading.Lock()
        self.take(first)

    def take(self, work: HostWork) -> bool:
        """Take one more; False when the batch takes no more."""
        with self._lock:
            if self._closed:
                return False
            self._all.append(work)
            self._open += 1
            self._coming.put(work)
            if len(self._all) == BATCH_HOSTS:
                self._close()
            return True

    def work(self) -> State[Any]:
        """Begin what comes until nothing more comes, wait for the answers; the state says which hosts failed."""
        while (work := self._coming.get()) is not None:
            # What a step logs belongs to this task of Prefect.
            try:
                begun = self._threads.submit(contextvars.copy_context().run, self._do, work)
            except RuntimeError:  # the run has ended, and its threads with it
                work.left_out()
                self.close()
            else:
                begun.add_done_callback(work.ended)
        return self._summary()

    def ended(self, task_run: PrefectFuture[Any]) -> None:
        """The task is over: whatever was not begun, because the task never was, gets its reason."""
        with self._lock:
            self._close()
            left = [work for work in self._all if not work.answer.done()]
        if left:
            reason = _reason(task_run)
            for work in left:
                work.answer.set_exception(reason)

    def _do(self, work: HostWork) -> None:
        work.do()
        with self._lock:
            self._open -= 1
            if not self._open:
                self._close()

    def close(self) -> None:
        """Take no more."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._coming.put(None)

    def _summary(self) -> State[Any]:
        failed = [work.host for work in self._all if work.answer.exception() is not None]
        if failed:
            return Failed(
                message=f"{len(failed)} of {len(self._all)} hosts could not be worked on: {', '.join(failed)}"
            )
        return Completed(message=f"{len(self._all)} hosts worked on; what came of each is in the run's artifacts")


def _reason(task_run: PrefectFuture[Any]) -> BaseException:
    try:
        task_run.result()
    except BaseException as error:  # noqa: BLE001 - Prefect's own interruptions are no Exceptions; they are passed on
        return error
    return RuntimeError("the batch ended without this host")
