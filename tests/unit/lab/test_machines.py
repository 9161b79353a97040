"""What is known of machines without booting one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from upkeep.errors import BadInput, ServiceError
from upkeep.lab.machines.base import base_root, build, cache_directory, codename, mirror
from upkeep.lab.machines.cgroups import Cgroup, hierarchies
from upkeep.lab.machines.fleet import MachineFleet
from upkeep.lab.machines.layout import MOST_MACHINES, address
from upkeep.lab.machines.processes import Process, call, child_of


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list", "# deb http://old.test/ x main\ndeb [arch=amd64] http://mirror.test/debian bookworm main\n"),
        ("sources.list", "deb http://mirror.test/debian bookworm main\n"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm\n"),
    ],
)
def test_the_mirror_is_the_one_apt_uses_in_either_of_its_formats(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    assert mirror(tmp_path) == "http://mirror.test/debian"


def test_a_computer_without_a_mirror_or_a_suite_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no mirror"):
        mirror(tmp_path)
    with pytest.raises(ServiceError, match="Debian or Ubuntu"):
        codename("ID=alpine\n")


def test_the_suite_is_the_one_this_computer_runs() -> None:
    assert codename('NAME="Debian"\nVERSION_CODENAME=bookworm\n') == "bookworm"
    assert codename('NAME="Ubuntu"\nVERSION_CODENAME="noble"\n') == "noble"


def test_the_cache_is_in_the_home_unless_the_environment_says_otherwise(tmp_path: Path) -> None:
    assert cache_directory({}) == Path.home() / ".cache/upkeep/machines"
    assert cache_directory({"UPKEEP_CACHE": str(tmp_path)}) == tmp_path / "machines"


def test_a_root_filesystem_that_is_in_the_cache_is_not_built_again(tmp_path: Path) -> None:
    root = base_root(tmp_path)
    root.mkdir()
    (root / "mark").touch()
    build(root)
    assert (root / "mark").exists()


def test_both_layouts_of_control_groups_are_known(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="cgroup v2"):
        hierarchies(tmp_path)
    (tmp_path / "cgroup.controllers").touch()
    assert hierarchies(tmp_path) == (tmp_path,)
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified/cgroup.procs").touch()
    assert hierarchies(tmp_path) == (tmp_path / "systemd", tmp_path / "unified")


def test_a_machines_groups_are_removed_with_all_below_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    one, other = Cgroup("set", "h1", tmp_path), Cgroup("set", "h2", tmp_path)
    for group in (one, other):
        group.create()
        (group.paths[0] / "payload/init.scope").mkdir(parents=True)
    one.remove()
    assert not one.paths[0].exists()
    assert other.paths[0].exists()
    other.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["cgroup.controllers"]


def test_every_machine_has_an_address_of_its_own_in_one_network() -> None:
    addresses = {address(number) for number in range(1, MOST_MACHINES + 1)}
    assert len(addresses) == MOST_MACHINES
    assert {text.rpartition(".")[0] for text in addresses} == {"10.77.0"}
    assert max(int(text.rpartition(".")[2]) for text in addresses) < 255


def test_a_process_that_ended_is_not_mistaken_for_a_later_one_with_its_id(tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    mine = Process.of(os.getpid())
    mine.save(path)
    assert Process.load(path) == mine
    Process(mine.pid, mine.start_ticks - 1).save(path)
    assert Process.load(path) is None
    assert Process.load(tmp_path / "none") is None


def test_a_child_is_found_by_its_parent_and_command(tmp_path: Path) -> None:
    program = tmp_path / "only-child"  # this process may have other children
    program.write_text("#!/bin/sh\necho up\nread line\n")
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        assert child_of(os.getpid(), {program.name}) == child.pid
        assert child_of(os.getpid(), {"another"}) is None
        child.communicate(b"\n")
    assert child_of(None, {program.name}) is None


def test_a_program_that_is_missing_or_fails_is_named_with_what_it_said() -> None:
    with pytest.raises(ServiceError, match="no-such-program is not installed; do: make machines-setup"):
        call(("no-such-program",))
    with pytest.raises(ServiceError, match="ended with 3: out of order"):
        call(("sh", "-c", "echo out of order >&2; exit 3"))
    assert call(("cat",), text="in\n") == "in\n"


def test_without_root_machines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BadInput, match="root"):
        MachineFleet("fine", tmp_path / "set").up(1)
