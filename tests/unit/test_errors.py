"""Errors keep the facts they were made with (style 5)."""

from __future__ import annotations

from upkeep.errors import HostLocked


def test_a_locked_host_says_who_holds_it_and_what_to_do() -> None:
    locked = HostLocked("web-07", "run 7f3a holds it", remedy="wait for that run, or stop it")
    assert (locked.problem, locked.reason, locked.remedy) == (
        "run 7f3a holds it",
        "run 7f3a holds it",
        "wait for that run, or stop it",
    )
    assert str(locked) == "web-07: run 7f3a holds it; do: wait for that run, or stop it"
    assert locked.exit_code == 4
