"""A backup is whole, compared with what it was taken from, and says what it could not hold."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import stat
import tarfile
from pathlib import Path

import pytest

from tests.integration.transaction.machine import Machine
from upkeep.domain.change import JournalState
from upkeep.errors import BackupError


def tool(folder: Path, name: str, before: str) -> Path:
    """A program that does something first and then what it always does."""
    folder.mkdir(exist_ok=True)
    real = next(path for path in (Path("/usr/bin") / name, Path("/bin") / name) if path.exists())
    (folder / name).write_text(f'#!/bin/sh\n{before}\nexec {real} "$@"\n')
    (folder / name).chmod(0o755)
    return folder


def members(archive: bytes) -> dict[bytes, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape") as tar:
        return {os.fsencode(member.name): member for member in tar}


def test_the_controller_receives_exactly_the_archive_that_was_compared(machine: Machine) -> None:
    got = bytearray()
    order = machine.locked()
    manifest = machine.change().back_up(order, got.extend)
    assert manifest.sha256 == hashlib.sha256(got).hexdigest()
    assert manifest.size_bytes == len(got)
    held = members(machine.backed_up(order))
    for path in (machine.config, machine.root / "etc/agent-keys/key.pem", machine.state_file, machine.binary):
        member = held[b"." + os.fsencode(path)]
        assert (member.mode, member.uid) == (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid)
    assert b"upkeep-backup/service.show" in held
    assert set(members(bytes(got))) == set(held) - {b"." + os.fsencode(machine.binary)}
    assert (machine.upkeep / "backups/run-1/binary").read_bytes() == machine.binary.read_bytes()
    assert machine.change().inspect().journal.state is JournalState.PREPARED


def test_nobody_else_on_the_host_can_read_the_backup(machine: Machine) -> None:
    machine.change().back_up(machine.locked(), lambda piece: None)
    assert stat.S_IMODE(machine.upkeep.stat().st_mode) == 0o700
    assert stat.S_IMODE((machine.upkeep / "backups/run-1/archive.tar.gz").stat().st_mode) == 0o600


NAMES = [
    b"two words",
    b"a\nline break",
    b"-rf",
    b"tab\there",
    b"back\\slash",
    b"octal\\101",
    b"'\"$(id)",
    b"\xff\xfe",
    b"*",
    b" ",
    b"ends\n",
    "süß".encode(),
]


def test_files_of_every_name_come_back(machine: Machine) -> None:
    folder = os.fsencode(machine.config.parent)
    for number, name in enumerate(NAMES):
        Path(os.fsdecode(folder + b"/" + name)).write_text(str(number))
        Path(os.fsdecode(folder + b"/link " + name)).symlink_to(os.fsdecode(name))
    order = machine.switched()
    for name in NAMES:
        Path(os.fsdecode(folder + b"/" + name)).write_text("spoilt")
        Path(os.fsdecode(folder + b"/made " + name)).write_text("new")
        Path(os.fsdecode(folder + b"/link " + name)).unlink()
    machine.change().roll_back(order, "back", with_state=False)
    for number, name in enumerate(NAMES):
        assert Path(os.fsdecode(folder + b"/" + name)).read_text() == str(number)
        assert os.fsencode(Path(os.fsdecode(folder + b"/link " + name)).readlink()) == name
        assert not Path(os.fsdecode(folder + b"/made " + name)).exists()


def test_a_file_that_changes_while_it_is_read_is_read_again(machine: Machine, tmp_path: Path) -> None:
    once = f'[ -e "{tmp_path}/done" ] || {{ : >"{tmp_path}/done"; echo more >>"{machine.config}"; }}'
    first = tool(tmp_path / "tools", "tar", f'case "$*" in *--hard-dereference*) {once} ;; esac')
    got = bytearray()
    machine.change(first).back_up(machine.locked(), got.extend)
    with tarfile.open(fileobj=io.BytesIO(bytes(got))) as tar:
        held = tar.extractfile(f".{machine.config}")
        assert held is not None
        assert held.read() == b"for=any\nlisten=8080\nmore\n"


def test_a_file_that_never_stops_changing_is_named_and_nothing_counts_as_a_backup(
    machine: Machine, tmp_path: Path
) -> None:
    first = tool(
        tmp_path / "tools", "tar", f'case "$*" in *--hard-dereference*) echo more >>"{machine.config}" ;; esac'
    )
    with pytest.raises(BackupError, match=f"three attempts: {machine.config}"):
        machine.change(first).back_up(machine.locked(), lambda piece: None)
    state = machine.change().inspect()
    assert (state.backups, state.journal.state) == ((), JournalState.NONE)


def test_a_file_that_vanishes_is_noted(machine: Machine, tmp_path: Path) -> None:
    victim = machine.config.with_name("victim")
    victim.write_text("x")
    first = tool(tmp_path / "tools", "tar", f'case "$*" in *--hard-dereference*) rm -f "{victim}" ;; esac')
    manifest = machine.change(first).back_up(machine.locked(), lambda piece: None)
    assert manifest.vanished == (str(victim),)


def test_an_archive_that_does_not_read_back_as_it_was_written_never_counts(machine: Machine, tmp_path: Path) -> None:
    spoil = 'case "$*" in *-d*) ;; *) sed "s/for=any/for=ANY/" | /usr/bin/gzip "$@"; exit ;; esac'
    first = tool(tmp_path / "tools", "gzip", spoil)
    with pytest.raises(BackupError, match="three attempts"):
        machine.change(first).back_up(machine.locked(), lambda piece: None)


def test_sockets_and_pipes_are_skipped_and_noted_and_links_and_holes_are_no_trouble(machine: Machine) -> None:
    folder = machine.state_file.parent
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(folder)
        listener.bind("agent.sock")
        os.mkfifo(folder / "pipe")
        (folder / "loop").symlink_to("loop")
        os.link(machine.state_file, folder / "second name")
        with (folder / "holes").open("wb") as file:
            file.truncate(50_000_000)
            file.write(b"end")
        order = machine.locked()
        manifest = machine.change().back_up(order, lambda piece: None)
    os.chdir("/")
    assert set(manifest.skipped) == {str(folder / "agent.sock"), str(folder / "pipe")}
    assert manifest.size_bytes < 200_000


@pytest.mark.parametrize("name", ["agent", "[a]g*\\t?"])
def test_a_folder_reached_through_a_link_is_backed_up_with_what_it_holds(machine: Machine, name: str) -> None:
    real = machine.root / "data" / name
    real.parent.mkdir()
    machine.config.parent.rename(real)
    machine.config.parent.symlink_to(real)
    order = machine.switched()
    (real / "agent.conf").write_text("spoilt")
    machine.change().roll_back(order, "back", with_state=False)
    assert (real / "agent.conf").read_text() == "for=any\nlisten=8080\n"
    assert machine.config.parent.is_symlink()


def test_after_the_switch_the_backup_from_before_it_is_sent_again(machine: Machine) -> None:
    order = machine.switched()
    before = machine.upkeep / "backups/run-1/archive.tar.gz"
    machine.config.write_text("new format")
    got = bytearray()
    machine.change().back_up(order, got.extend)
    assert bytes(got) == before.read_bytes()


def test_a_backup_without_a_release_leaves_the_record_of_the_last_change_alone(machine: Machine) -> None:
    machine.change().commit(machine.switched())
    nightly = machine.locked(run="nightly", take_over=True, from_version="2.0.0", to_version="")
    assert machine.change().back_up(nightly, lambda piece: None).run == "nightly"
    state = machine.change().inspect()
    assert (state.journal.run, state.journal.state) == ("run-1", JournalState.COMMITTED)
    assert set(state.backups) == {"run-1", "nightly"}


def test_an_archive_that_arrives_cut_is_no_backup(machine: Machine) -> None:
    order = machine.locked()
    change = machine.change()
    run = change._transport.run

    def cut(script, **options):
        if "phase_read_backup" in script.splitlines()[-1]:
            sink = options["sink"]
            options["sink"] = lambda piece: sink(piece[:-1])
        return run(script, **options)

    change._transport.run = cut
    with pytest.raises(BackupError, match="did not arrive whole"):
        change.back_up(order, lambda piece: None)


def test_nothing_is_switched_when_the_old_binary_in_the_backup_was_changed(machine: Machine) -> None:
    order = machine.staged()
    with (machine.upkeep / "backups/run-1/binary").open("r+b") as binary:
        binary.write(b"x")
    with pytest.raises(BackupError, match="gone or changed"):
        machine.change().switch(order)
    assert machine.running() == "1.0.0"


def test_the_old_binary_comes_from_the_backup_when_every_other_copy_is_gone(machine: Machine) -> None:
    before, mode = machine.binary.read_bytes(), stat.S_IMODE(machine.binary.stat().st_mode)
    order = machine.switched()
    for adopted in (machine.root / "opt/agent/releases").glob("*-adopted"):
        shutil.rmtree(adopted)
    machine.change().roll_back(order, "back", with_state=False)
    assert (machine.binary.read_bytes(), stat.S_IMODE(machine.binary.stat().st_mode)) == (before, mode)
    assert machine.running() == "1.0.0"
    assert machine.binary.stat().st_ino != (machine.upkeep / "backups/run-1/binary").stat().st_ino


def test_a_spoilt_binary_in_the_backup_does_not_hinder_the_way_back_while_the_old_one_is_whole(
    machine: Machine,
) -> None:
    order = machine.switched()
    (machine.upkeep / "backups/run-1/binary").write_bytes(b"rotten")
    machine.change().roll_back(order, "back", with_state=False)
    assert machine.running() == "1.0.0"


def test_a_host_without_any_old_binary_is_given_the_controllers(machine: Machine) -> None:
    order = machine.locked()
    kept = machine.backed_up(order)
    machine.change().deliver(order, [machine.archives["2.0.0"]], offset=0)
    machine.change().stage(order)
    machine.change().switch(order)
    (machine.upkeep / "backups/run-1/binary").unlink()
    for adopted in (machine.root / "opt/agent/releases").glob("*-adopted"):
        shutil.rmtree(adopted)
    with pytest.raises(BackupError, match="gone or changed"):
        machine.change().roll_back(order, "back", with_state=False)
    assert machine.running() == "2.0.0"
    machine.change().restore_from(order, [kept])
    machine.change().roll_back(order, "back", with_state=False)
    assert machine.running() == "1.0.0"
