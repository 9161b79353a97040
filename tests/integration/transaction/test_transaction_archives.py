"""An archive is unpacked only if nothing in it leaves its folder or brings special rights."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.transaction.machine import Machine, tar_gz
from upkeep.errors import UntrustedRelease

AGENT = ("agent-x/bin/agent", b"#!/bin/sh\nexit 0\n", 0o755)


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def late(name: str) -> tarfile.TarInfo:
    """A time that tar prints wider than others: what stands behind it moves."""
    info = tarfile.TarInfo(name)
    info.mtime = 253_402_300_800
    return info


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor = kind, 1, 3
    return info


@pytest.fixture
def stage(machine: Machine) -> Callable[..., Path]:
    def deliver_and_stage(*members) -> Path:
        machine.archives["2.0.0"] = members[0] if isinstance(members[0], bytes) else tar_gz(*members)
        order = machine.staged()
        return Path(machine.profile.paths.releases) / f"2.0.0-{order.artifact_sha256[:8]}"

    return deliver_and_stage


BAD = {
    "a name with ..": [AGENT, ("agent-x/../../../evil", b"x", 0o644)],
    "a name that is ..": [AGENT, link("..", "x")],
    "an absolute name": [AGENT, ("/tmp/upkeep-evil", b"x", 0o644)],
    "an absolute link": [AGENT, link("agent-x/out", "/etc/passwd")],
    "a link with .. that leads out": [AGENT, link("agent-x/out", "../../../../etc/passwd")],
    "a link to the folder above": [AGENT, link("agent-x/up", "../..")],
    "a link in two steps": [AGENT, link("agent-x/a", "b/.."), link("agent-x/b", "../..")],
    "a file through a link": [AGENT, link("agent-x/up", "../../.."), ("agent-x/up/evil", b"x", 0o644)],
    "a hard link out": [AGENT, link("agent-x/hard", "/etc/passwd", tarfile.LNKTYPE)],
    "a hard link with ..": [AGENT, link("agent-x/hard", "../../../../etc/passwd", tarfile.LNKTYPE)],
    "a name that a strange time hides": [AGENT, late("agent-x/late"), ("/tmp/upkeep-evil", b"x", 0o644)],
    "a strange time": [AGENT, late("agent-x/late")],
    "a link with two arrows that leads out": [AGENT, link("agent-x/a -> b", "/etc/passwd")],
    "a hard link that can be read in two ways": [AGENT, link("agent-x/a link to b", "/etc/passwd", tarfile.LNKTYPE)],
    "a device": [AGENT, special("agent-x/null", tarfile.CHRTYPE)],
    "a pipe": [AGENT, special("agent-x/pipe", tarfile.FIFOTYPE)],
    "a line break": [AGENT, ("agent-x/a\nb", b"x", 0o644)],
    "a backslash": [AGENT, ("agent-x/a\\..\\b", b"x", 0o644)],
    "no binary": [("agent-x/README", b"x", 0o644)],
    "two binaries": [AGENT, ("agent-y/bin/agent", b"x", 0o755)],
    "a link as binary": [("agent-x/real", b"x", 0o755), link("agent-x/bin/agent", "../real")],
    "no archive": [b"not a tar.gz"],
    "half an archive": [gzip.compress(os.urandom(4000))[:2000]],
}


@pytest.mark.parametrize("members", BAD.values(), ids=BAD.keys())
def test_an_archive_that_must_not_be_trusted_leaves_no_release_behind(machine: Machine, stage, members) -> None:
    with pytest.raises(UntrustedRelease):
        stage(*members)
    releases = Path(machine.profile.paths.releases)
    assert not [path for path in releases.glob("*") if not path.name.endswith(".new")]
    assert not list(machine.root.rglob("evil"))
    assert not Path("/tmp/upkeep-evil").exists()
    assert machine.running() == "1.0.0"


def test_links_and_names_that_stay_inside_are_fine(stage) -> None:
    place = stage(
        AGENT,
        ("./agent-x/lib/two words -> x", b"lib", 0o644),
        link("agent-x/bin/lib", "../lib/two words -> x"),
        link("agent-x/hard", "agent-x/bin/agent", tarfile.LNKTYPE),
        ("agent-x/lib/..hidden", b"x", 0o600),
    )
    assert (place / "agent-x/bin/lib").read_bytes() == b"lib"
    assert (place / "agent-x/hard").stat().st_ino == (place / "agent-x/bin/agent").stat().st_ino


def test_special_rights_and_foreign_owners_are_taken_away(stage) -> None:
    owned = tarfile.TarInfo("agent-x/owned")
    owned.uid, owned.gid, owned.mode = 1234, 1234, 0o6777
    place = stage(("agent-x/bin/agent", AGENT[1], 0o4700), owned, ("agent-x/lib/x", b"", 0o000))
    for path in place.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o7022 == 0
        assert path.stat().st_uid == os.getuid()
    assert stat.S_IMODE((place / "agent-x/bin/agent").stat().st_mode) == 0o755


def test_a_release_that_lies_there_already_is_used_again_unless_it_was_changed(machine: Machine, stage) -> None:
    place = stage(AGENT)
    before = place.stat().st_ino
    order = machine.order()
    machine.change().stage(machine.locked())
    assert place.stat().st_ino == before
    (place / "agent-x/bin/agent").write_text("planted")
    machine.change().stage(machine.locked())
    assert (place / "agent-x/bin/agent").read_bytes() == AGENT[1]
    assert place.name == f"2.0.0-{order.artifact_sha256[:8]}"
