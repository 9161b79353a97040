from __future__ import annotations

import asyncio

import pytest

from tests.unit.lab.machine import Machine
from upkeep.lab.journal import Entry, UnitJournal
from upkeep.lab.journalctl import journalctl, moment
from upkeep.lab.supervisor import Supervisor

SLEEPS = "exec sleep 60"


def test_a_missing_unit_is_told_as_systemctl_tells_it(machine: Machine) -> None:
    async def scene() -> None:
        assert (await machine.ctl("start", "nope")).exit_code == 5
        shown = await machine.ctl("show", "nope.service", "-p", "LoadState", "-p", "ActiveState")
        assert (shown.exit_code, shown.stdout) == (0, "LoadState=not-found\nActiveState=inactive\n")
        assert (await machine.ctl("is-active", "nope")).exit_code == 3
        assert (await machine.ctl("status", "nope")).exit_code == 4
        assert (await machine.ctl("cat", "nope")).exit_code == 1

    machine.play(scene)


def test_properties_can_be_asked_for_in_every_spelling(machine: Machine) -> None:
    machine.unit("web", SLEEPS)

    async def scene() -> None:
        wanted = "ActiveState=inactive\nMainPID=0\n"
        for words in (
            ["-p", "ActiveState", "-p", "MainPID"],
            ["-p", "ActiveState,MainPID"],
            ["--property=ActiveState,MainPID"],
        ):
            assert (await machine.ctl("show", "web.service", *words)).stdout == wanted
        assert (await machine.ctl("show", "web", "-pActiveState", "--value")).stdout == "inactive\n"

    machine.play(scene)


def test_a_masked_unit_is_not_started_and_unmask_frees_it(machine: Machine) -> None:
    machine.unit("web", SLEEPS, vendor=True)

    async def scene() -> None:
        assert (await machine.ctl("mask", "web")).exit_code == 0
        refused = await machine.ctl("start", "web")
        assert (refused.exit_code, refused.stderr) == (1, "Failed to start web.service: Unit web.service is masked.\n")
        shown = await machine.shown("web.service")
        assert (shown["LoadState"], shown["UnitFileState"]) == ("masked", "masked")
        await machine.ctl("unmask", "web")
        assert (await machine.ctl("start", "web")).exit_code == 0

    machine.play(scene)


def test_mask_refuses_to_replace_a_file_of_the_administrator(machine: Machine) -> None:
    machine.unit("web", SLEEPS)

    async def scene() -> None:
        refused = await machine.ctl("mask", "web")
        assert refused.exit_code == 1
        assert "already exists" in refused.stderr
        assert (await machine.ctl("start", "web")).exit_code == 0

    machine.play(scene)


def test_an_edited_unit_needs_a_reload_before_it_counts(machine: Machine) -> None:
    path = machine.unit("web", SLEEPS)

    async def scene() -> None:
        await machine.ctl("start", "web")
        assert (await machine.shown("web.service"))["NeedDaemonReload"] == "no"
        path.write_text(path.read_text().replace("[Service]", "[Service]\nRestart=always"))
        shown = await machine.shown("web.service")
        assert (shown["NeedDaemonReload"], shown["Restart"]) == ("yes", "no")
        await machine.ctl("daemon-reload")
        shown = await machine.shown("web.service")
        assert (shown["NeedDaemonReload"], shown["Restart"]) == ("no", "always")

    machine.play(scene)


def test_enabled_units_start_at_boot_and_disabled_ones_do_not(machine: Machine) -> None:
    machine.unit("web", SLEEPS)
    machine.unit("db", SLEEPS)

    async def scene() -> None:
        assert (await machine.ctl("is-enabled", "web")).exit_code == 1
        await machine.ctl("enable", "web")
        assert (await machine.ctl("is-enabled", "web")).stdout == "enabled\n"
        machine.supervisor.service("web.service").said_something.set()
        await machine.supervisor.boot(asyncio.Semaphore(1))
        assert (await machine.ctl("is-active", "web", "-q")).exit_code == 0
        assert (await machine.ctl("is-active", "db")).exit_code == 3
        await machine.ctl("disable", "--now", "web")
        assert (await machine.ctl("is-active", "web")).exit_code == 3

    machine.play(scene)


@pytest.mark.parametrize("words", [["frobnicate", "web"], ["start"], ["start", "--frob", "web"], []])
def test_what_systemctl_does_not_know_is_an_error(machine: Machine, words: list[str]) -> None:
    async def scene() -> None:
        answer = await machine.ctl(*words)
        assert answer.exit_code == 1
        assert answer.stderr

    machine.play(scene)


@pytest.fixture
def written(machine: Machine) -> Supervisor:
    journal = UnitJournal(machine.paths.journal / "web.service.log")
    for at in range(5):
        journal.add(Entry(1000.0 + at, "agent[7]", f"line {at}"))
    journal.close()
    return machine.supervisor


def test_the_journal_shows_a_units_lines_since_a_moment(written: Supervisor) -> None:
    answer = journalctl(written, ["-u", "web.service", "--since", "@1003", "-o", "cat", "--no-pager"])
    assert (answer.exit_code, answer.stdout) == (0, "line 3\nline 4\n")


def test_the_journal_shows_the_last_lines_and_the_style_asked_for(written: Supervisor) -> None:
    answer = journalctl(written, ["--unit=web", "-n1", "-o", "short-iso"])
    assert answer.stdout == "1970-01-01T00:16:44+0000 h1 agent[7]: line 4\n"
    assert journalctl(written, ["-u", "web", "-n", "2", "-o", "short-unix"]).stdout.startswith("1003.000000 h1 ")


def test_an_empty_journal_says_so_unless_told_to_be_quiet(written: Supervisor) -> None:
    assert journalctl(written, ["-u", "db", "-o", "cat"]).stdout == "-- No entries --\n"
    assert journalctl(written, ["-u", "db", "-q"]).stdout == ""


@pytest.mark.parametrize("words", [["-o", "xml"], ["--since", "whenever"], ["--frob"], ["-u"], ["-u", "../x"]])
def test_what_journalctl_does_not_know_is_an_error(written: Supervisor, words: list[str]) -> None:
    assert journalctl(written, words).exit_code == 1


def test_moments_are_read_in_systemds_forms() -> None:
    assert moment("@12.5") == 12.5
    assert moment("1970-01-01 00:01:00") == 60
    assert moment("now") - moment("-1min") == pytest.approx(60, abs=1)


def test_a_journal_that_has_grown_large_keeps_its_last_two_files(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upkeep.lab.journal.ROTATE_BYTES", 200)
    journal = UnitJournal(machine.paths.journal / "web.service.log")
    for at in range(50):
        journal.add(Entry(at, "a", f"line {at}"))
    journal.close()
    shown = journalctl(machine.supervisor, ["-u", "web", "-o", "cat"]).stdout.split("\n")
    assert shown[-2] == "line 49"
    assert len(shown) < 30
