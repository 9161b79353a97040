"""What the conducting of a run leaves in the history (R5; issue 3)."""

from __future__ import annotations

from types import SimpleNamespace

from flows.conduct import _write_down_the_rest
from upkeep.domain.change import HostOutcome, HostResult

COMMITTED = HostResult(outcome=HostOutcome.COMMITTED)
SET_ASIDE = HostResult(outcome=HostOutcome.SET_ASIDE, reason="no contact at the end of its soak time")


class WrittenHistory:
    """A history that already says `committed` for h1 and h2."""

    def __init__(self) -> None:
        self.results: dict[str, HostResult] = {}

    def run(self, run_id: str) -> SimpleNamespace:
        return SimpleNamespace(hosts={"h1": COMMITTED, "h2": COMMITTED})

    def host_result(self, run_id: str, host: str, result: HostResult) -> None:
        self.results[host] = result


def test_a_host_that_fell_silent_after_its_commit_is_not_left_as_committed_in_the_history() -> None:
    history = WrittenHistory()
    session = SimpleNamespace(history=history, record=SimpleNamespace(id="r"))
    never = HostResult(outcome=HostOutcome.NOT_STARTED)
    engine = SimpleNamespace(results={"h1": COMMITTED, "h2": SET_ASIDE, "h3": never})
    _write_down_the_rest(session, engine)  # type: ignore[arg-type]
    assert history.results == {"h2": SET_ASIDE, "h3": never}
