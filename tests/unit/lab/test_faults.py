from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import time
from pathlib import Path

import pytest

from upkeep.cli.lab import lab_break
from upkeep.errors import BadInput
from upkeep.lab.faults import FAULTS, FILE_FAULTS, faults_of, inject, undo_all
from upkeep.lab.host_files import unit_text
from upkeep.lab.layout import UNIT, HostPaths


@pytest.fixture
def host(tmp_path: Path) -> HostPaths:
    files = HostPaths(tmp_path / "h1")
    for folder in (files.config.parent, files.units, files.bin, files.aside):
        folder.mkdir(parents=True)
    files.config.write_text("agent_id: h1\nlog_level: INFO\n")
    files.config.chmod(0o644)
    (files.units / UNIT).write_text(unit_text(files))
    return files


def state(files: HostPaths) -> dict[str, tuple[int, str]]:
    found = {}
    for path in sorted(files.directory.rglob("*")):
        if files.aside in path.parents or path.is_dir():
            continue
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        found[str(path)] = (stat.S_IMODE(path.lstat().st_mode), hashlib.sha256(content).hexdigest())
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_can_be_injected_is_remembered_and_leaves_nothing_once_undone(host: HostPaths, fault: str) -> None:
    before = state(host)
    inject(host, fault, from_version="1.5.0")
    assert faults_of(host) == (fault,)
    assert state(host) != before
    inject(host, fault, from_version="1.5.0")
    undo_all(host)
    assert state(host) == before
    assert faults_of(host) == ()


def test_several_faults_at_once_are_all_undone(host: HostPaths) -> None:
    before = state(host)
    for fault in ("slow", *sorted(FILE_FAULTS, reverse=True)):
        inject(host, fault, from_version="1.5.0")
    undo_all(host)
    assert state(host) == before


def test_a_masked_unit_cannot_be_edited(host: HostPaths) -> None:
    inject(host, "masked", from_version="1.5.0")
    with pytest.raises(BadInput, match="masked"):
        inject(host, "unit-edited", from_version="1.5.0")
    assert faults_of(host) == ("masked",)


def test_one_fault_of_the_agent_replaces_another(host: HostPaths) -> None:
    inject(host, "slow", from_version="1.5.0")
    inject(host, "crash-loop", from_version="1.5.0")
    assert faults_of(host) == ("crash-loop",)
    assert host.config.read_text() == "agent_id: h1\nlog_level: INFO\nlab_fault: crash-loop\nlab_fault_from: 1.5.0\n"


def test_an_unknown_fault_is_refused_with_the_ones_there_are(host: HostPaths) -> None:
    with pytest.raises(BadInput, match="crash-loop"):
        inject(host, "sleepy", from_version="1.5.0")


def on_host(host: HostPaths, *words: str) -> str:
    environment = {"PATH": f"{host.bin}:{os.environ['PATH']}"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("fault", "words", "column"),
    [
        ("disk-full", ("df", "-P", "-k", "/"), 3),
        ("disk-full", ("df", "-Pk", "/"), 3),
        ("disk-full", ("df", "--output=avail", "/"), 0),
        ("inodes-full", ("df", "-P", "-i", "/"), 3),
    ],
)
def test_a_full_disk_shows_in_df_as_nothing_free(
    host: HostPaths, fault: str, words: tuple[str, ...], column: int
) -> None:
    inject(host, fault, from_version="1.5.0")
    row = on_host(host, *words).splitlines()[1].split()
    assert row[column] == "0"
    if len(row) > 1:
        assert (row[4], row[5]) == ("100%", "/")


def test_a_full_disk_does_not_show_as_full_of_inodes(host: HostPaths) -> None:
    inject(host, "disk-full", from_version="1.5.0")
    real = subprocess.run(["df", "-P", "-i", "/"], capture_output=True, text=True, check=True).stdout.split()
    assert on_host(host, "df", "-P", "-i", "/").split()[:2] == real[:2]
    assert on_host(host, "df", "-P", "-i", "/").splitlines()[1].split()[3] != "0"


def test_a_clock_that_is_ahead_shows_in_date_and_a_given_date_is_still_converted(host: HostPaths) -> None:
    inject(host, "clock-ahead", from_version="1.5.0")
    assert int(on_host(host, "date", "+%s")) - time.time() == pytest.approx(86400, abs=5)
    assert int(on_host(host, "date", "-u", "+%s")) - time.time() == pytest.approx(86400, abs=5)
    assert on_host(host, "date", "-u", "-d", "@0", "+%Y") == "1970\n"


def test_the_help_of_lab_break_names_every_fault() -> None:
    named = set(re.findall(r"[a-z0-9-]+", lab_break.__doc__ or ""))
    assert set(FAULTS) - named == set()
