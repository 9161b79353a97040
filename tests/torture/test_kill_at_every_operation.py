"""Killed at every operation of every step, on a host in a folder: it always ends with the old or the new version, whole (faults 28)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.transaction import killing
from tests.integration.transaction.killing import Killer
from tests.integration.transaction.machine import Machine

POINTS = range(1, 200)


@pytest.fixture
def killer(tmp_path: Path) -> Killer:
    return Killer(tmp_path / "killer")


def test_killed_in_the_switch_a_host_can_be_rolled_back_resumed_or_goes_back_by_itself(
    machine: Machine, killer: Killer, until: Callable[[Callable[[], bool]], None]
) -> None:
    killing.in_the_switch(POINTS, machine, killer, until)


def test_killed_in_a_rollback_it_can_be_repeated(machine: Machine, killer: Killer) -> None:
    killing.in_a_rollback(POINTS, machine, killer)


def test_killed_in_a_commit_the_host_is_committed_or_still_guarded(machine: Machine, killer: Killer) -> None:
    killing.in_a_commit(POINTS, machine, killer)


def test_killed_before_the_switch_nothing_has_changed_and_every_step_can_be_repeated(
    machine: Machine, killer: Killer
) -> None:
    killing.before_the_switch(POINTS, machine, killer)
