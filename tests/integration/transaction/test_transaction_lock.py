"""One host belongs to one run at a time, and an old holder can no longer write."""

from __future__ import annotations

import fcntl
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.transaction.machine import Machine
from upkeep.domain.change import JournalState
from upkeep.errors import BadInput, CommandTimeout, HostError, HostLocked


def test_a_second_run_is_refused_with_who_why_since_and_until_when(machine: Machine) -> None:
    machine.locked(owner="ada\nlovelace", reason="quarterly\tupgrade")
    with pytest.raises(HostLocked) as refusal:
        machine.locked(run="run-2")
    for part in ("run run-1", "ada lovelace", "since 20", "until 20", "quarterly upgrade"):
        assert part in str(refusal.value)
    assert refusal.value.exit_code == 4


def test_the_same_run_comes_in_again_with_the_same_fence(machine: Machine) -> None:
    assert machine.locked().fence == machine.locked().fence == 1


def test_an_expired_lock_is_taken_over_and_the_old_holder_can_no_longer_write(machine: Machine) -> None:
    old = machine.locked()
    lock = machine.upkeep / "lock"
    lock.write_text(re.sub(r"until=\d+", "until=1000000000", lock.read_text()))
    new = machine.locked(run="run-2")
    assert new.fence == old.fence + 1
    change = machine.change()
    writes = (
        lambda: change.extend_lock(old),
        lambda: change.release_lock(old),
        lambda: change.back_up(old, lambda piece: None),
        lambda: change.deliver(old, [b""], offset=0),
        lambda: change.fetch(old, "http://127.0.0.1:9/x"),
        lambda: change.stage(old),
        lambda: change.restore_from(old, [b""]),
    )
    for write in writes:
        with pytest.raises(HostLocked, match="run-2"):
            write()
    change.extend_lock(new)


def test_a_run_that_takes_its_own_lock_over_shuts_out_its_earlier_self(machine: Machine) -> None:
    order = machine.switched()
    resumed = machine.locked(take_over=True)
    assert resumed.fence == order.fence + 1
    for write in (machine.change().switch, machine.change().commit):
        with pytest.raises(HostLocked):
            write(order)
    with pytest.raises(HostLocked):
        machine.change().roll_back(order, "late", with_state=False)
    assert machine.change().commit(resumed).state is JournalState.COMMITTED


def test_the_fence_rises_although_the_lock_was_released_between(machine: Machine) -> None:
    first = machine.locked()
    machine.change().release_lock(first)
    assert machine.locked(run="run-2").fence == first.fence + 1
    with pytest.raises(HostLocked):
        machine.change().release_lock(first)


def test_without_a_lock_nothing_is_written(machine: Machine) -> None:
    with pytest.raises(HostError, match="no run holds the lock"):
        machine.change().back_up(replace(machine.order(), fence=1), lambda piece: None)


def test_a_lock_is_extended_from_now(machine: Machine) -> None:
    order = machine.locked(lease=timedelta(minutes=1))
    machine.change().extend_lock(replace(order, lease=timedelta(hours=2)))
    state = machine.change().inspect()
    assert state.lock is not None
    assert state.lock.until - state.now > 7000


def test_a_lock_that_cannot_be_read_keeps_nobody_out(machine: Machine) -> None:
    first = machine.locked()
    (machine.upkeep / "lock").write_bytes(b"run=\0\xff\nuntil=never")
    assert machine.change().inspect().lock is None
    assert machine.locked(run="run-2").fence == first.fence + 1


def test_a_script_that_keeps_writing_makes_the_next_one_give_up_after_a_while(machine: Machine) -> None:
    machine.locked()
    change = machine.change()
    change._profile = {**change._profile, "MUTEX_WAIT": 1}
    with (machine.upkeep / "mutex").open("a") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        with pytest.raises(CommandTimeout, match="for 1 s"):
            change.extend_lock(machine.order())


@pytest.mark.parametrize("run", ["", "../x", "a b", "x;reboot", "-rf", "a\nb", "x" * 200])
def test_a_run_id_that_is_no_plain_name_never_reaches_a_host(machine: Machine, run) -> None:
    with pytest.raises(BadInput):
        machine.locked(run=run)
    assert not machine.upkeep.exists()


def test_shell_characters_in_every_text_stay_text(machine: Machine) -> None:
    nasty = '\'; touch /tmp/upkeep-was-here; $(reboot) `id` \\ "%s" *'
    order = machine.locked(owner=nasty, reason=nasty, from_version=nasty)
    machine.change().back_up(order, lambda piece: None)
    state = machine.change().inspect()
    assert state.lock is not None
    assert (state.lock.owner, state.lock.reason, state.journal.from_version) == (nasty, nasty, nasty)
