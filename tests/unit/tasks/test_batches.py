"""Large runs: a batch of hosts is one task of Prefect, and every host still has an answer of its own (issue 4: 4)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import task
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.states import Suspended

from tasks.batches import BATCH_HOSTS, LARGE_RUN_HOSTS, Batch, Batches, HostWork, host_tasks
from upkeep.errors import Cancelled, Unreachable


class Runner:
    """Stands for Prefect's task runner: starts what is submitted when it is told to."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.ends: list[Future[Any]] = []
        self._begin = threading.Event()
        self._threads = ThreadPoolExecutor(16)

    def submit(self, title: str, batch: Batch) -> Any:
        self.titles.append(title)
        self.ends.append(self._threads.submit(self._run, batch))
        return self.ends[-1]

    def _run(self, batch: Batch) -> Any:
        self._begin.wait(60)
        return batch.work()

    def begin(self) -> None:
        self._begin.set()

    def end(self) -> None:
        self.begin()
        self._threads.shutdown()


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.end()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def step(work: Callable[[str], Any], name: str = "check host") -> Any:
    @task(name=name)
    def one(_session: None, host: str) -> Any:
        return work(host)

    return one


def test_hosts_share_tasks_and_each_has_its_own_answer(runner, threads) -> None:
    batches, hosts = Batches(threads, runner.submit), [f"h{n}" for n in range(BATCH_HOSTS * 2 + 1)]
    answers = {host: batches.begin(step(str.upper), None, host) for host in hosts}
    runner.begin()
    assert {host: answer.result(60) for host, answer in answers.items()} == {host: host.upper() for host in hosts}
    assert runner.titles == [f"check host {host} and others" for host in ("h0", "h25", "h50")]
    batches.close()
    messages = [end.result(60).message for end in runner.ends]
    assert [message.split()[0] for message in messages] == ["25", "25", "1"]


def test_one_host_that_fails_is_named_and_the_others_go_on(runner, threads) -> None:
    def work(host: str) -> str:
        if host == "h1":
            raise Unreachable("h1", "no route")
        return "fine"

    batches = Batches(threads, runner.submit)
    answers = [batches.begin(step(work), None, host) for host in ("h0", "h1", "h2")]
    runner.begin()
    with pytest.raises(Unreachable, match="no route"):
        answers[1].result(60)
    assert (answers[0].result(60), answers[2].result(60)) == ("fine", "fine")
    state = runner.ends[0].result(60)
    assert state.is_failed()
    assert state.message == "1 of 3 hosts could not be worked on: h1"


def test_a_batch_ends_when_all_its_hosts_are_done_and_what_comes_later_opens_another(runner, threads) -> None:
    batches = Batches(threads, runner.submit)
    runner.begin()
    assert batches.begin(step(str.upper), None, "h0").result(60) == "H0"
    assert runner.ends[0].result(60).is_completed()
    assert batches.begin(step(str.upper), None, "h1").result(60) == "H1"
    assert len(runner.titles) == 2


def test_different_steps_never_share_a_task(runner, threads) -> None:
    batches = Batches(threads, runner.submit)
    for name in ("check host", "undo host", "check host"):
        batches.begin(step(str.upper, name), None, "h0")
    assert runner.titles == ["check host h0 and others", "undo host h0 and others"]
    runner.begin()


def test_hosts_of_a_batch_that_prefect_never_begins_are_told_why(threads) -> None:
    def refused(_title: str, _batch: Batch) -> Any:
        refusal: Future[Any] = Future()
        refusal.set_exception(Pause("suspended"))
        return refusal

    answer = Batches(threads, refused).begin(step(str.upper), None, "h0")
    with pytest.raises(Pause, match="suspended"):
        answer.result(60)


def test_when_a_run_is_suspended_the_hosts_of_its_open_batches_that_wait_for_their_turn_are_not_begun() -> None:
    request = FlowRunContext.model_fields["flow_run_suspension_request"].get_default(call_default_factory=True)
    done: list[str] = []

    def work(host: str) -> None:
        done.append(host)
        request.mark_requested(Suspended())

    first, second = (HostWork(step(work), (None, host)) for host in ("h0", "h1"))
    token = FlowRunContext.__var__.set(SimpleNamespace(flow_run_suspension_request=request))
    with ThreadPoolExecutor(1) as one_at_a_time:
        batch = Batch(one_at_a_time, first)
        assert batch.take(second)
        batch.close()
        batch.work()
    FlowRunContext.__var__.reset(token)
    assert (done, first.answer.result(60)) == (["h0"], None)
    with pytest.raises(Pause):
        second.answer.result(60)


def test_a_run_that_breaks_off_leaves_no_batch_waiting_and_begins_no_further_host(monkeypatch) -> None:
    runner, begun, go_on, answers = Runner(), threading.Event(), threading.Event(), []
    monkeypatch.setattr(Batches.__init__, "__defaults__", (runner.submit,))
    done: list[str] = []

    def work(host: str) -> None:
        begun.set()
        go_on.wait(60)
        done.append(host)

    runner.begin()
    with pytest.raises(ValueError, match="broken off"), host_tasks(LARGE_RUN_HOSTS + 1, 1) as begin:
        answers = [begin(step(work), None, f"h{n}") for n in range(3)]
        assert begun.wait(60)
        answers[2].add_done_callback(lambda _: go_on.set())
        raise ValueError("broken off")
    assert done == ["h0"]
    assert answers[0].result(60) is None
    with pytest.raises(Cancelled, match="before this host was begun"):
        answers[2].result(60)
    runner.end()


def test_in_a_small_run_every_host_is_a_task_of_its_own() -> None:
    class Submitted:
        def submit(self, *arguments: Any) -> tuple[Any, ...]:
            return arguments

    with host_tasks(LARGE_RUN_HOSTS, 4) as begin:
        assert begin(Submitted(), None, "h0") == (None, "h0")
