"""The order of syncs and renames in the real scripts, seen by strace: no power cut finds a name without its data (B2, B7, faults 29)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.transaction import tracing
from tests.integration.transaction.machine import Machine
from tests.integration.transaction.tracing import Event, TracedTransport
from upkeep.hosts.host_change import HostChange

SYNCS = {"fsync", "syncfs"}


@dataclass
class Traced:
    """A host whose steps are watched one by one."""

    machine: Machine
    folder: Path

    def step(self, do: Callable[[HostChange], object]) -> list[Event]:
        """What a step asked of the kernel below the host's root."""
        env = {"PATH": f"{self.machine.root}/bin:{os.environ['PATH']}"}
        transport = TracedTransport("h1", env, Path(tempfile.mkdtemp(dir=self.folder)))
        do(HostChange(transport, self.machine.profile, become=False))
        return [event for event in transport.events() if event.path.startswith(str(self.machine.root))]


@pytest.fixture
def traced(machine: Machine, tmp_path: Path) -> Traced:
    if reason := tracing.why_not():
        pytest.skip(reason)
    return Traced(machine, tmp_path)


def where(events: list[Event], call: str, path: Path | str, text: str = "") -> list[int]:
    """The places in the order at which something was done to a path."""
    return [n for n, event in enumerate(events) if (event.call, event.path) == (call, str(path)) and text in event.text]


def synced(event: Event, path: str) -> bool:
    """Whether this put the data of a path on the disk; all of these tests' paths lie on one file system."""
    return event.call == "syncfs" or (event.call == "fsync" and event.path == path)


def is_durable(events: list[Event], place: int) -> bool:
    """What a rename moves was synced after it was last written, or is a symbolic link; its folder is synced before the next rename."""
    rename = events[place]
    before = [n for n in range(place) if synced(events[n], rename.source)]
    made = [n for n in range(place) if events[n].call in {"write", "symlink"} and events[n].path == rename.source]
    is_link = bool(made) and events[made[-1]].call == "symlink"
    after = [event.call for event in events[place + 1 :]]
    following = events[place + 1 : place + 1 + after.index("rename") if "rename" in after else None]
    settled = any(synced(event, str(Path(rename.path).parent)) for event in following)
    return settled and (is_link or (bool(before) and (not made or before[-1] > made[-1])))


def test_every_rename_in_every_step_moves_synced_data_and_its_folder_is_synced_next(traced: Traced) -> None:
    machine = traced.machine
    order = machine.locked()
    steps = {
        "back_up": traced.step(lambda change: change.back_up(order, lambda piece: None)),
        "deliver": traced.step(lambda change: change.deliver(order, [machine.archives["2.0.0"]], offset=0)),
        "stage": traced.step(lambda change: change.stage(order)),
        "switch": traced.step(lambda change: change.switch(order)),
        "commit": traced.step(lambda change: change.commit(order)),
        "extend_lock": traced.step(lambda change: change.extend_lock(order)),
    }
    renames = {name: [n for n, event in enumerate(events) if event.call == "rename"] for name, events in steps.items()}
    assert all(renames.values()), renames
    bad = [steps[name][n] for name, places in renames.items() for n in places if not is_durable(steps[name], n)]
    assert bad == []


def test_a_release_is_on_the_disk_before_it_gets_its_name(traced: Traced) -> None:
    machine = traced.machine
    order = machine.locked()
    machine.change().back_up(order, lambda piece: None)
    machine.change().deliver(order, [machine.archives["2.0.0"]], offset=0)
    events = traced.step(lambda change: change.stage(order))
    releases = Path(machine.profile.paths.releases)
    (named,) = [n for n, e in enumerate(events) if e.call == "rename" and Path(e.path).parent == releases]
    unpacked = [n for n, e in enumerate(events) if e.call == "write" and e.path.startswith(f"{events[named].source}/")]
    all_synced = where(events, "syncfs", events[named].source)
    assert unpacked
    assert unpacked[-1] < all_synced[-1] < named < where(events, "fsync", releases)[-1]


def test_journal_and_guard_are_on_the_disk_before_the_link_changes_and_the_link_before_the_restart(
    traced: Traced,
) -> None:
    machine = traced.machine
    order = machine.staged()
    events = traced.step(lambda change: change.switch(order))
    journal, guard, script = (machine.upkeep / name for name in ("journal", "guard", "incoming/guard.sh"))
    (link,) = where(events, "rename", machine.binary)
    armed, switched = (where(events, "write", f"{journal}.new", f"state={state}")[0] for state in ("armed", "switched"))
    journal_renames, folder = where(events, "rename", journal), where(events, "fsync", machine.upkeep)
    (guard_named,), (script_named,) = where(events, "rename", guard), where(events, "rename", script)
    assert armed < journal_renames[0] < script_named < guard_named < switched < journal_renames[1] < link
    for named in (journal_renames[0], guard_named, journal_renames[1]):
        assert any(named < n < link for n in folder), "the name was on the disk before the link changed"
    after = [n for n, e in enumerate(events) if n > link and e.call in SYNCS]
    assert {(events[n].call, events[n].path) for n in after[:2]} == {
        ("fsync", str(machine.binary.parent)),
        ("syncfs", str(machine.binary.parent)),
    }
    restarted = where(events, "write", machine.root / "systemd/calls", "restart")
    assert after[1] < restarted[0]


def test_a_rollback_writes_its_end_down_only_after_everything_restored_is_on_the_disk(traced: Traced) -> None:
    machine = traced.machine
    order = machine.switched()
    machine.config.write_text("the new version's own")
    events = traced.step(lambda change: change.roll_back(order, "back", with_state=False))
    restored = [n for n, e in enumerate(events) if e.call == "write" and e.path == str(machine.config)]
    (renamed,) = where(events, "rename", machine.binary)
    ended = where(events, "write", machine.upkeep / "journal.new", "state=rolled-back")
    binaries = where(events, "syncfs", machine.binary.parent)
    configs = where(events, "syncfs", machine.config.parent)
    assert restored[-1] < configs[-1] < ended[0]
    assert renamed < binaries[-1] < ended[0]
