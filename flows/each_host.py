"""Runbooks that do one thing to every host: all at once, one host's trouble never in another's way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from prefect import Task

from flows.opening import HOSTS_AT_ONCE
from tasks.batches import Begun, host_tasks
from tasks.collect import collected
from tasks.session import RunSession
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.domain.progress import is_good


def for_each_host(
    session: RunSession,
    step: Task[..., Any],
    hosts: Iterable[str],
    result: Callable[[Any], HostResult] = lambda answer: answer,
    *,
    keep: Callable[[HostResult], bool] = lambda _: True,
    at_once: int = HOSTS_AT_ONCE,
) -> dict[str, HostResult]:
    """Run `step(session, host)` for every host; what came of each goes into the history if `keep` says so."""
    wanted = tuple(hosts)
    results: dict[str, HostResult] = {}
    with host_tasks(len(wanted), at_once) as begin:
        begun = {host: begin(step, session, host) for host in wanted}
        for host, future in begun.items():
            results[host] = collected(partial(_answer, future, result))
            if keep(results[host]):
                session.history.host_result(session.record.id, host, results[host])
    return results


def for_each_open_host(
    session: RunSession,
    step: Task[..., Any],
    result: Callable[[Any], HostResult] = lambda answer: answer,
    *,
    keep: Callable[[HostResult], bool] = lambda _: True,
    at_once: int = HOSTS_AT_ONCE,
) -> dict[str, HostResult]:
    """The same for every target that has no outcome yet; what came of all of them."""
    left = [host for host in session.hosts if host not in session.known]
    return {**session.known, **for_each_host(session, step, left, result, keep=keep, at_once=at_once)}


def _answer(future: Begun, result: Callable[[Any], HostResult]) -> HostResult:
    return result(future.result())


def outcome_of(results: dict[str, HostResult], *, good: HostOutcome | None = None) -> tuple[RunOutcome, str]:
    """Outcome of such a run: succeeded if every host is good, with exceptions if only some could not be reached, else failed."""
    count = {outcome: sum(r.outcome is outcome for r in results.values()) for outcome in HostOutcome}
    summary = ", ".join(f"{number} {outcome.value}" for outcome, number in count.items() if number)
    bad = [r.outcome for r in results.values() if not (is_good(r.outcome) or r.outcome is good)]
    if not bad:
        return RunOutcome.SUCCEEDED, summary
    only_unreachable = set(bad) == {HostOutcome.SET_ASIDE} and len(bad) < len(results)
    return (RunOutcome.WITH_EXCEPTIONS if only_unreachable else RunOutcome.FAILED), summary
