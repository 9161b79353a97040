"""Errors keep the facts they were made with (style 5)."""

from __future__ import annotations

from upkeep.errors import CommandFailed, HostLocked, StepFailed


def test_a_locked_host_says_who_holds_it_and_what_to_do() -> None:
    locked = HostLocked("web-07", "run 7f3a holds it", remedy="wait for that run, or stop it")
    assert (locked.problem, locked.reason, locked.remedy) == (
        "run 7f3a holds it",
        "run 7f3a holds it",
        "wait for that run, or stop it",
    )
    assert str(locked) == "web-07: run 7f3a holds it; do: wait for that run, or stop it"
    assert locked.exit_code == 4


def test_a_masked_error_tells_no_secret_in_its_message_its_facts_or_the_failed_step_that_carries_it() -> None:
    error = CommandFailed("web-01", "sudo says hunter2222", exit_code=1, evidence="hunter2222").masked(
        lambda text: text.replace("hunter2222", "***")
    )
    told = [str(error), repr(error), repr(vars(error)), str(StepFailed("web-01", "lock", error))]
    assert "hunter2222" not in "".join(told)
    assert str(error).count("***") == 2
    assert error.command_exit_code == 1
