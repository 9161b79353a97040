"""A journal that cannot be read is no dead end: it is set aside and rebuilt from what is really there."""

from __future__ import annotations

import pytest

from tests.integration.transaction.machine import Machine
from upkeep.domain.change import JournalState

SPOILT = {
    "torn": lambda text: text[: len(text) // 2],
    "empty": lambda text: b"",
    "zeros": lambda text: b"\0" * len(text),
    "edited": lambda text: text.replace(b"state=switched", b"state=committed"),
    "noise": lambda text: bytes(range(256)) * 3,
    "without its sum": lambda text: text.rsplit(b"sum=", 1)[0],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_journal_is_reported_set_aside_and_the_change_can_still_be_committed(machine: Machine, spoil) -> None:
    order = machine.switched()
    journal = machine.upkeep / "journal"
    journal.write_bytes(spoil(journal.read_bytes()))
    state = machine.change().inspect()
    assert state.journal.state is JournalState.CORRUPT
    assert state.journal.run == "run-1"
    assert not list(machine.upkeep.glob("journal.corrupt.*"))
    machine.change().take_lock(order)
    assert len(list(machine.upkeep.glob("journal.corrupt.*"))) == 1
    assert machine.change().inspect().journal.state is JournalState.SWITCHED
    assert machine.change().commit(order).state is JournalState.COMMITTED


def test_a_lost_journal_with_an_armed_guard_can_still_be_rolled_back(machine: Machine) -> None:
    order = machine.switched()
    (machine.upkeep / "journal").unlink()
    assert machine.change().roll_back(order, "back", with_state=False).state is JournalState.ROLLED_BACK
    assert machine.running() == "1.0.0"


def test_a_copy_that_is_behind_what_the_link_says_counts_as_switched(machine: Machine) -> None:
    order = machine.staged()
    copy = (machine.upkeep / "backups/run-1/journal").read_bytes()
    machine.change().switch(order)
    (machine.upkeep / "backups/run-1/journal").write_bytes(copy)
    (machine.upkeep / "journal").write_bytes(b"torn")
    assert machine.change().roll_back(order, "back", with_state=False).state is JournalState.ROLLED_BACK
    assert machine.running() == "1.0.0"


def test_with_every_copy_spoilt_a_new_change_can_begin(machine: Machine) -> None:
    machine.change().commit(machine.switched())
    (machine.upkeep / "journal").write_bytes(b"torn")
    (machine.upkeep / "backups/run-1/journal").write_bytes(b"torn")
    machine.release("3.0.0")
    order = machine.switched("3.0.0", run="run-2", from_version="2.0.0", take_over=True)
    assert machine.running() == "3.0.0"
    machine.change().roll_back(order, "back", with_state=False)
    assert machine.running() == "2.0.0"
