"""Many writers at once on both databases (issue 6: 6; R5): nothing is lost, the chain is whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.audit.conftest import run_record
from upkeep.audit.history import History

WRITERS, EVENTS = 32, 500


@pytest.mark.parametrize("controllers", [1, 2])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_thirty_two_writers_lose_none_of_16000_events_and_the_chain_is_whole(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, controllers: int
) -> None:
    url = f"sqlite:///{tmp_path}/history.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql").database()
    histories = [History.open(url) for _ in range(controllers)]
    histories[0].open_run(run_record())

    def write(writer: int) -> None:
        for number in range(EVENTS):
            histories[writer % controllers].record("r1", "note", reason=f"{writer}:{number}")

    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(write, range(WRITERS)))
    events = histories[0].events("r1")
    assert [event.seq for event in events] == list(range(1, WRITERS * EVENTS + 2))
    assert {event.reason for event in events[1:]} == {f"{w}:{n}" for w in range(WRITERS) for n in range(EVENTS)}
    assert histories[0].verify().ok
    for history in histories:
        history.close()
