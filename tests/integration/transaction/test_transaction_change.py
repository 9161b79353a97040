"""One change on one host, from the lock to the commit or back."""

from __future__ import annotations

import hashlib
import shutil
import stat
import subprocess
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.transaction.machine import Machine, agent_text, tar_gz
from upkeep.domain.change import JournalState
from upkeep.errors import BackupError, ChecksumMismatch, CommandFailed, HostError, Refused


def digest_of(root: Path) -> str:
    """Everything under a folder: names, modes, contents, links, and times of change."""
    lines = []
    for path in sorted(root.rglob("*")):
        if "systemd" in path.parts:
            continue
        known = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        lines.append(f"{path} {known.st_mode} {known.st_mtime_ns} {content!r}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_a_change_ends_with_the_new_version_running_and_nothing_armed(machine: Machine) -> None:
    order = machine.switched()
    state = machine.change().inspect()
    assert state.journal.state is JournalState.SWITCHED
    assert state.guard is not None
    assert state.guard.armed
    assert machine.running() == "2.0.0"
    machine.change().commit(order)
    machine.change().release_lock(order)
    state = machine.change().inspect()
    assert (state.journal.state, state.journal.guard_deadline) == (JournalState.COMMITTED, 0)
    assert (state.guard, state.lock) == (None, None)
    assert state.binary.form == "link"
    assert state.binary.target.startswith(f"{machine.root}/opt/agent/releases/2.0.0-{order.artifact_sha256[:8]}/")
    assert machine.running() == "2.0.0"


def test_inspecting_writes_nothing_on_a_host_never_seen_before_nor_in_the_middle_of_a_change(machine: Machine) -> None:
    before = digest_of(machine.root)
    state = machine.change().inspect()
    assert digest_of(machine.root) == before
    assert (state.journal.state, state.lock, state.guard) == (JournalState.NONE, None, None)
    assert state.binary.form == "file"
    assert state.service["ActiveState"] == "active"
    machine.switched()
    before = digest_of(machine.root)
    state = machine.change().inspect()
    assert digest_of(machine.root) == before
    assert len(state.releases) == 2
    assert state.backups == ("run-1",)


def test_a_plain_file_comes_back_as_the_very_same_plain_file(machine: Machine) -> None:
    machine.binary.chmod(0o751)
    before = machine.binary.stat()
    order = machine.switched()
    assert machine.binary.is_symlink()
    journal = machine.change().roll_back(order, "it was bad", with_state=False)
    after = machine.binary.lstat()
    assert stat.S_ISREG(after.st_mode)
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)
    assert (journal.state, journal.actor, journal.reason) == (JournalState.ROLLED_BACK, "controller", "it was bad")
    assert machine.running() == "1.0.0"


def test_a_link_comes_back_as_it_was_written(machine: Machine) -> None:
    real = machine.binary.with_name("agent-1.0.0")
    machine.binary.rename(real)
    machine.binary.symlink_to("../bin/agent-1.0.0")
    order = machine.switched()
    machine.change().roll_back(order, "back", with_state=False)
    assert machine.binary.readlink() == Path("../bin/agent-1.0.0")
    assert machine.running() == "1.0.0"


def test_every_step_may_be_repeated(machine: Machine) -> None:
    order, change = machine.locked(), machine.change()
    for _ in range(2):
        assert change.take_lock(order) == order.fence
        change.back_up(order, lambda piece: None)
        change.deliver(order, [machine.archives["2.0.0"]], offset=0)
        change.stage(order)
    change.switch(order)
    first = (machine.root / "systemd/calls").read_text().count("restart")
    change.switch(order)
    assert (machine.root / "systemd/calls").read_text().count("restart") == first
    for _ in range(2):
        assert change.commit(order).state is JournalState.COMMITTED
    for _ in range(2):
        assert change.roll_back(order, "back", with_state=False).state is JournalState.ROLLED_BACK
    for _ in range(2):
        change.release_lock(order)
    assert machine.running() == "1.0.0"


def test_a_version_that_rejects_the_configuration_never_reaches_the_switch(machine: Machine) -> None:
    machine.release("2.0.0", wants="another")
    with pytest.raises(CommandFailed, match="rejects the present configuration"):
        machine.staged()
    state = machine.change().inspect()
    assert state.journal.state is JournalState.PREPARED
    assert state.binary.form == "file"
    with pytest.raises(HostError, match="prepared"):
        machine.change().switch(replace(machine.order(), fence=1))
    assert machine.running() == "1.0.0"


def test_a_config_check_that_prints_without_end_is_a_rejection_and_fills_no_disk(machine: Machine) -> None:
    endless = agent_text(machine.root, "2.0.0").replace("exec grep -q", "exec yes")
    machine.archives["2.0.0"] = tar_gz(("agent-x/bin/agent", endless.encode(), 0o755))
    with pytest.raises(CommandFailed, match="the new version rejects the present configuration"):
        machine.staged()
    assert (machine.upkeep / "incoming/config-check.log").stat().st_size <= 16 * 1024**2
    assert machine.running() == "1.0.0"


def test_a_service_that_never_becomes_active_is_given_up_in_time_though_the_clock_is_set_back(
    machine: Machine, tmp_path: Path
) -> None:
    order, clock = machine.staged(), tmp_path / "clock"
    (clock / "bin").mkdir(parents=True)
    (clock / "at").write_text("2000000000\n")
    date = f'#!/bin/sh\nread -r at <"{clock}/at" && echo $((at - 3600)) >"{clock}/at" && echo "$at"\n'
    ctl = f'#!/bin/sh\n[ "$1" != is-active ] || {{ echo activating; exit 3; }}\nexec "{machine.root}/bin/systemctl" "$@"\n'
    for name, text in (("date", date), ("systemctl", ctl)):
        (clock / "bin" / name).write_text(text)
        (clock / "bin" / name).chmod(0o755)
    machine.profile = machine.profile.model_copy(
        update={"service": machine.profile.service.model_copy(update={"start_timeout": timedelta(seconds=2)})}
    )
    began = time.monotonic()
    with pytest.raises(CommandFailed, match="the service did not start"):
        machine.change(clock / "bin").switch(order)
    assert time.monotonic() - began < 20
    machine.change().roll_back(order, "back", with_state=False)
    assert machine.running() == "1.0.0"


def test_a_version_that_does_not_start_is_told_with_evidence_and_can_be_put_back(machine: Machine) -> None:
    machine.release("2.0.0", start="exit 3")
    order = machine.staged()
    with pytest.raises(CommandFailed, match="did not start.*ActiveState=failed"):
        machine.change().switch(order)
    machine.change().roll_back(order, "did not start", with_state=False)
    assert machine.running() == "1.0.0"


def test_configuration_is_put_back_and_what_the_new_version_made_is_kept_aside(machine: Machine) -> None:
    order = machine.switched()
    machine.config.write_text("new format")
    machine.config.chmod(0o666)
    made = machine.root / "etc/agent/made by\nthe new version"
    made.write_text("new")
    (machine.root / "etc/agent-keys/key.pem").unlink()
    machine.state_file.write_text("migrated")
    machine.change().roll_back(order, "back", with_state=False)
    assert machine.config.read_text() == "for=any\nlisten=8080\n"
    assert stat.S_IMODE(machine.config.stat().st_mode) == 0o640
    assert stat.S_IMODE((machine.root / "etc/agent-keys/key.pem").stat().st_mode) == 0o600
    assert not made.exists()
    assert (machine.upkeep / f"backups/run-1/left{made}").read_text() == "new"
    assert list((machine.upkeep / "backups/run-1/left").glob("replaced.*.tar.gz"))
    assert machine.state_file.read_text() == "migrated"


def test_state_is_put_back_only_when_asked(machine: Machine) -> None:
    order = machine.switched()
    machine.state_file.write_text("migrated")
    machine.state_file.with_name("wal").write_text("new")
    machine.change().roll_back(order, "one-way", with_state=True)
    assert [path.name for path in machine.state_file.parent.iterdir()] == ["data"]
    assert machine.state_file.read_text() == "old"


def test_a_folder_turned_into_a_link_out_does_not_lead_the_restore_astray(machine: Machine) -> None:
    order, outside = machine.switched(), machine.root / "outside"
    outside.mkdir()
    (outside / "agent.conf").write_text("not yours")
    shutil.rmtree(machine.root / "etc/agent")
    (machine.root / "etc/agent").symlink_to(outside)
    machine.change().roll_back(order, "back", with_state=False)
    assert (outside / "agent.conf").read_text() == "not yours"
    assert not (machine.root / "etc/agent").is_symlink()
    assert machine.config.read_text() == "for=any\nlisten=8080\n"


def test_a_committed_change_can_be_undone_by_a_later_run(machine: Machine) -> None:
    order = machine.switched()
    machine.change().commit(order)
    machine.change().release_lock(order)
    by_hand = machine.locked(run="run-2", to_version="")
    journal = machine.change().roll_back(by_hand, "by hand", with_state=False)
    assert (journal.run, journal.fence, journal.from_version) == ("run-1", by_hand.fence, "1.0.0")
    assert machine.running() == "1.0.0"


def test_an_earlier_run_is_undone_by_name_after_a_later_one_that_switched_nothing(machine: Machine) -> None:
    machine.change().commit(machine.switched())
    machine.release("3.0.0", wants="another")
    with pytest.raises(CommandFailed):
        machine.staged("3.0.0", run="run-2", take_over=True)
    by_hand = machine.locked(run="run-3", take_over=True)
    journal = machine.change().roll_back(by_hand, "by hand", with_state=False, of_run="run-1")
    assert (journal.run, journal.from_version) == ("run-1", "1.0.0")
    assert machine.running() == "1.0.0"


def test_an_earlier_run_is_not_undone_once_the_host_has_moved_on(machine: Machine) -> None:
    machine.change().commit(machine.switched())
    machine.release("3.0.0")
    order = machine.switched("3.0.0", run="run-2", take_over=True, from_version="2.0.0")
    with pytest.raises(Refused, match="'switched'"):
        machine.change().roll_back(order, "too early", with_state=False, of_run="run-1")
    machine.change().commit(order)
    with pytest.raises(Refused, match="no longer runs"):
        machine.change().roll_back(order, "too late", with_state=False, of_run="run-1")
    assert machine.running() == "3.0.0"
    assert machine.change().roll_back(order, "the latest", with_state=False).run == "run-2"
    assert machine.running() == "2.0.0"


def test_a_host_without_a_change_has_nothing_to_roll_back(machine: Machine) -> None:
    order = machine.locked()
    with pytest.raises(Refused, match="no change is recorded"):
        machine.change().roll_back(order, "why", with_state=False)
    with pytest.raises(Refused, match="no change of run run-9"):
        machine.change().roll_back(order, "why", with_state=False, of_run="run-9")
    with pytest.raises(HostError, match="'none'"):
        machine.change().commit(order)


def test_a_change_that_was_only_staged_is_ended_without_touching_the_service(machine: Machine) -> None:
    order = machine.staged()
    calls = (machine.root / "systemd/calls").read_text()
    journal = machine.change().roll_back(order, "stopped", with_state=False)
    assert journal.state is JournalState.ROLLED_BACK
    assert "nothing was switched" in journal.reason
    assert (machine.root / "systemd/calls").read_text().count("restart") == calls.count("restart")


def test_a_damaged_backup_on_the_host_is_replaced_by_the_controllers_copy(machine: Machine) -> None:
    order, change = machine.locked(), machine.change()
    kept = machine.backed_up(order)
    change.deliver(order, [machine.archives["2.0.0"]], offset=0)
    change.stage(order)
    change.switch(order)
    machine.config.write_text("new format")
    (machine.upkeep / "backups/run-1/archive.tar.gz").write_bytes(b"rotten")
    with pytest.raises(BackupError, match="gone or changed"):
        change.roll_back(order, "back", with_state=False)
    assert machine.running() == "2.0.0"
    with pytest.raises(BackupError, match="not a whole backup"):
        change.restore_from(order, [bytes(kept[:100])])
    manifest = change.restore_from(order, [bytes(kept)])
    assert manifest.sha256 == hashlib.sha256(kept).hexdigest()
    change.roll_back(order, "back", with_state=False)
    assert machine.config.read_text() == "for=any\nlisten=8080\n"
    assert machine.running() == "1.0.0"


def test_a_host_that_lost_all_of_upkeeps_files_comes_back_from_the_controllers_copy(machine: Machine) -> None:
    order = machine.locked()
    kept = machine.backed_up(order)
    machine.change().deliver(order, [machine.archives["2.0.0"]], offset=0)
    machine.change().stage(order)
    machine.change().switch(order)
    machine.change().commit(order)
    shutil.rmtree(machine.upkeep)
    shutil.rmtree(machine.root / "opt/agent/releases", ignore_errors=True)
    order = machine.locked(run="run-2", to_version="")
    machine.change().restore_from(order, [bytes(kept)])
    assert machine.change().roll_back(order, "lost", with_state=False).from_version == "1.0.0"
    assert not machine.binary.is_symlink()
    assert machine.running() == "1.0.0"


def test_a_binary_changed_by_hand_since_its_backup_stops_the_change(machine: Machine) -> None:
    order = machine.staged()
    with machine.binary.open("a") as file:
        file.write("# a local fix\n")
    with pytest.raises(HostError, match="changed by hand"):
        machine.change().switch(order)
    assert not machine.binary.is_symlink()
    assert machine.change().inspect().guard is None


def test_a_staged_binary_changed_before_the_switch_is_never_started(machine: Machine) -> None:
    order = machine.staged()
    target = Path(machine.change().inspect().journal.to_target)
    target.write_text(target.read_text() + "# planted\n")
    with pytest.raises(ChecksumMismatch, match="not the one that was checked"):
        machine.change().switch(order)
    assert not machine.binary.is_symlink()


def test_a_change_is_refused_while_another_runs_change_is_unfinished(machine: Machine) -> None:
    machine.switched()
    other = machine.locked(run="run-2", take_over=True)
    for step in (lambda: machine.change().back_up(other, lambda piece: None), lambda: machine.change().stage(other)):
        with pytest.raises(Refused, match="run run-1 is still 'switched'"):
            step()
    assert machine.change().roll_back(other, "left behind", with_state=False).run == "run-1"
    assert machine.running() == "1.0.0"


def test_an_agent_that_was_not_running_before_is_not_running_after_a_rollback(machine: Machine) -> None:
    machine.systemctl("stop", "agent.service")
    order = machine.switched()
    assert machine.running() == "2.0.0"
    machine.change().roll_back(order, "back", with_state=False)
    assert machine.running() == ""


def test_an_old_version_that_does_not_start_again_stays_unfinished_and_a_repair_is_kept(machine: Machine) -> None:
    order = machine.switched()
    systemctl = machine.root / "bin/systemctl"
    text = systemctl.read_text()
    systemctl.write_text(text.replace("start() {", "start() {\nreturn 1\n"))
    with pytest.raises(CommandFailed, match="did not start"):
        machine.change().roll_back(order, "back", with_state=False)
    journal = machine.change().inspect().journal
    assert journal.state is JournalState.ROLLING_BACK
    assert "does not start" in journal.reason
    machine.config.write_text("repaired by a person")
    systemctl.write_text(text)
    assert machine.change().roll_back(order, "back", with_state=False).state is JournalState.ROLLED_BACK
    assert machine.config.read_text() == "repaired by a person"
    assert machine.running() == "1.0.0"


def test_a_program_that_is_running_can_be_replaced(machine: Machine) -> None:
    program = Path("/bin/sleep").resolve().read_bytes()
    machine.systemctl("stop", "agent.service")
    machine.binary.write_bytes(program)
    with subprocess.Popen([machine.binary, "30"]) as process:
        order = machine.staged()
        machine.change().switch(order)
        machine.change().roll_back(order, "back", with_state=False)
        process.kill()
    assert machine.binary.read_bytes() == program


def test_pruning_keeps_what_runs_what_it_came_from_and_the_newest_backup(machine: Machine) -> None:
    before = "1.0.0"
    for number, version in enumerate(("2.0.0", "3.0.0", "4.0.0"), 1):
        machine.release(version)
        order = machine.switched(version, run=f"run-{number}", from_version=before)
        with pytest.raises(Refused, match="still 'switched'"):
            machine.change().prune(1)
        machine.change().commit(order)
        machine.change().release_lock(order)
        before = version
    removed = machine.change().prune(0)
    assert sorted(Path(path).name[:5] for path in removed if "/releases/" in path) == ["1.0.0", "2.0.0"]
    state = machine.change().inspect()
    assert state.backups == ("run-3",)
    order = machine.locked(run="run-4")
    machine.change().roll_back(order, "back", with_state=False)
    assert machine.running() == "3.0.0"


def test_a_host_whose_disk_the_new_version_filled_still_goes_back(machine: Machine, tmp_path: Path) -> None:
    order = machine.switched()
    machine.config.write_text("new format")
    full = tmp_path / "full"
    full.mkdir()
    (full / "cat").write_text(f'#!/bin/sh\n[ ! -e "{machine.upkeep}/reserve" ] || exit 1\nexec /bin/cat "$@"\n')
    (full / "cat").chmod(0o755)
    assert machine.change(full).roll_back(order, "disk full", with_state=False).state is JournalState.ROLLED_BACK
    assert machine.running() == "1.0.0"
    assert machine.config.read_text() == "for=any\nlisten=8080\n"


def test_room_kept_for_the_way_back_is_given_free_by_the_commit(machine: Machine) -> None:
    order = machine.switched()
    assert (machine.upkeep / "reserve/bytes").stat().st_blocks * 512 >= 2_000_000
    machine.change().commit(order)
    assert not (machine.upkeep / "reserve").exists()


@pytest.mark.parametrize("shell", [["busybox", "ash"], ["bash", "--posix"]])
def test_hosts_whose_sh_is_another_shell_are_changed_and_put_back_alike(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, shell
) -> None:
    start = subprocess.Popen

    def with_other_shell(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return start([*shell, *command[1:]], **options)

    monkeypatch.setattr("upkeep.hosts.local.subprocess.Popen", with_other_shell)
    order = machine.switched()
    machine.config.write_text("new format")
    machine.change().commit(order)
    assert machine.running() == "2.0.0"
    machine.change().roll_back(order, "back", with_state=True)
    assert machine.running() == "1.0.0"
    assert machine.config.read_text() == "for=any\nlisten=8080\n"
