"""No member of an archive reaches a host unless every tar program would put it where it says."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upkeep.errors import UntrustedRelease
from upkeep.services import archives
from upkeep.services.archives import inspect


def member(name: str, content: bytes = b"", **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o755, len(content)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


def archive(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]], **options: Any) -> Path:
    with tarfile.open(path, "w:gz", **options) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


GOOD = member("agent/bin/agent", b"#!/bin/sh\necho 1.5.0\n")


def test_a_plain_archive_is_listed_with_its_binary(tmp_path: Path) -> None:
    members = [
        member("./agent", type=tarfile.DIRTYPE),
        GOOD,
        member("agent/lib/libx.so.1", b"x" * 5000, mode=0o644),
        member("agent/lib/libx.so", type=tarfile.SYMTYPE, linkname="libx.so.1"),
        member("agent/bin/lib", type=tarfile.SYMTYPE, linkname="../lib"),
        member("agent/bin/agent2", type=tarfile.LNKTYPE, linkname="agent/bin/agent"),
    ]
    listing = inspect(archive(tmp_path / "a.tar.gz", members), "agent/bin/agent")
    assert listing.binary == "agent/bin/agent"
    assert [m.path for m in listing.members][:2] == ["agent", "agent/bin/agent"]
    assert listing.unpacked_bytes >= 5000


@pytest.mark.parametrize(
    ("pattern", "names"), [("*/agent", ["a/agent", "a/x"]), ("agent-*", ["agent-1.5.0"]), ("./agent", ["./agent"])]
)
def test_a_glob_finds_the_binary_and_gives_its_name_as_archived(tmp_path: Path, pattern: str, names: list[str]) -> None:
    path = archive(tmp_path / "a.tar.gz", [member(name, b"x") for name in names])
    assert inspect(path, pattern).binary == names[0]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (member("/etc/cron.d/x", b"x"), "absolute"),
        (member("../x", b"x"), r"\.\."),
        (member("a/../../x", b"x"), r"\.\."),
        (member("x", type=tarfile.SYMTYPE, linkname="/etc"), "leads out"),
        (member("x", type=tarfile.SYMTYPE, linkname="../x"), "leads out"),
        (member("a/x", type=tarfile.SYMTYPE, linkname="../../x"), "leads out"),
        (member("a/x", type=tarfile.SYMTYPE, linkname="b/../../../x"), "leads out"),
        (member("x", type=tarfile.LNKTYPE, linkname="/etc/shadow"), "absolute"),
        (member("x", type=tarfile.LNKTYPE, linkname="../shadow"), r"\.\."),
        (member("x", type=tarfile.LNKTYPE, linkname="nowhere"), "no file before it"),
        (member("x", type=tarfile.CHRTYPE), "character device"),
        (member("x", type=tarfile.BLKTYPE), "block device"),
        (member("x", type=tarfile.FIFOTYPE), "named pipe"),
        (member("x", type=b"Z"), "unknown type"),
        (member("x", b"x", mode=0o4755), "set-uid"),
        (member("x", b"x", mode=0o2755), "set-gid"),
        (member("agent/bin/agent", b"other"), "comes twice"),
        (member("./agent//bin/agent", b"other"), "comes twice"),
        (member("agent/bin/agent/x", b"x"), "not a folder"),
        (member("a\nb", b"x"), "control characters"),
        (member("a\x1b[2J", b"x"), "control characters"),
        (member("x", b"x", pax_headers={"GNU.sparse.name": "y"}), "size that some|cannot|differently"),
    ],
)
def test_a_member_that_must_not_reach_a_host_is_named(
    tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes], named: str
) -> None:
    path = archive(tmp_path / "a.tar.gz", [GOOD, bad], format=tarfile.PAX_FORMAT)
    with pytest.raises(UntrustedRelease, match=named) as caught:
        inspect(path, "agent/bin/agent")
    assert str(path) in str(caught.value)


def test_links_cannot_be_chained_to_the_outside(tmp_path: Path) -> None:
    chained = [
        member("a/b", type=tarfile.DIRTYPE),
        member("a/b/up", type=tarfile.SYMTYPE, linkname="../.."),
        member("out", type=tarfile.SYMTYPE, linkname="a/b/up/../x"),
    ]
    with pytest.raises(UntrustedRelease, match="'out'"):
        inspect(archive(tmp_path / "a.tar.gz", [GOOD, *chained]), "agent/bin/agent")
    through = [member("l", type=tarfile.SYMTYPE, linkname="agent"), member("l/x", b"x")]
    with pytest.raises(UntrustedRelease, match="below 'l'"):
        inspect(archive(tmp_path / "b.tar.gz", [GOOD, *through]), "agent/bin/agent")
    with pytest.raises(UntrustedRelease, match="below 'l'"):
        inspect(archive(tmp_path / "c.tar.gz", [GOOD, *reversed(through)]), "agent/bin/agent")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([member("x", b"x")], "none among x"),
        ([member("a1/agent", b"x"), member("a2/agent", b"x")], "a1/agent, a2/agent"),
        ([member("agent", b"")], "'agent'.*empty"),
        ([member("agent", type=tarfile.DIRTYPE)], "'agent'.*not a plain file"),
        ([member("real", b"x"), member("agent", type=tarfile.SYMTYPE, linkname="real")], "'agent'.*not a plain file"),
        ([], "none among"),
    ],
)
def test_exactly_one_plain_file_must_be_the_binary(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], said: str
) -> None:
    with pytest.raises(UntrustedRelease, match=said):
        inspect(archive(tmp_path / "a.tar.gz", members), "*agent")


def test_a_small_archive_that_unpacks_to_very_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SMALL_BYTES", 4 * 1024**2)
    path = archive(tmp_path / "bomb.tar.gz", [GOOD, member("zeros", bytes(10 * 1024**2))])
    assert path.stat().st_size < 40 * 1024
    with pytest.raises(UntrustedRelease, match="far more than its size"):
        inspect(path, "agent/bin/agent")
    with pytest.raises(UntrustedRelease, match="allowed: 1024 bytes"):
        inspect(path, "agent/bin/agent", max_unpacked_bytes=1024)


def test_a_huge_extension_header_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", [GOOD, member("long", bytes(50 * 1024**2), type=tarfile.XHDTYPE)])
    tracemalloc.start()
    with pytest.raises(UntrustedRelease, match="extension header"):
        inspect(path, "agent/bin/agent")
    assert tracemalloc.get_traced_memory()[1] < 5 * 1024**2
    tracemalloc.stop()


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 20)
    path = archive(tmp_path / "a.tar.gz", (member(f"f{n}") for n in range(21)))
    with pytest.raises(UntrustedRelease, match="too many members"):
        inspect(path, "f1")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", gzip.compress(b""), gzip.compress(b"hello" * 500), b"\x1f\x8b\x08\x00"],
    ids=["nothing", "text", "packed nothing", "packed text", "a head only"],
)
def test_what_is_no_tar_gz_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    with pytest.raises(UntrustedRelease):
        inspect(path, "agent")
    with pytest.raises(UntrustedRelease, match="cannot be read"):
        inspect(tmp_path / "missing.tar.gz", "agent")


def test_an_archive_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "a.tar.gz", [GOOD, member("noise", os.urandom(3000))]).read_bytes()
    cut = tmp_path / "cut.tar.gz"
    for length in range(0, len(whole), 37):
        cut.write_bytes(whole[:length])
        with pytest.raises(UntrustedRelease):
            inspect(cut, "agent/bin/agent")


def test_data_that_other_tar_programs_would_still_read_is_refused(tmp_path: Path) -> None:
    plain = gzip.decompress(archive(tmp_path / "a.tar.gz", [GOOD]).read_bytes())
    hidden = gzip.decompress(archive(tmp_path / "b.tar.gz", [member("hidden", b"x")]).read_bytes())
    path = tmp_path / "c.tar.gz"
    for spoilt in (
        plain + hidden,  # behind the end mark
        plain[:1024] + b"\xff" * 512 + hidden,  # behind a damaged header
        plain[:1024],  # no end mark at all
        plain[:1024] + bytes(512) + hidden,  # behind half an end mark
    ):
        path.write_bytes(gzip.compress(spoilt))
        with pytest.raises(UntrustedRelease):
            inspect(path, "agent/bin/agent")


def test_a_harmless_long_name_cannot_cover_a_dangerous_plain_one(tmp_path: Path) -> None:
    extension = member("pax", b"13 path=safe\n", type=tarfile.XHDTYPE)
    covered = [GOOD, extension, member("../../etc/x", b"x")]
    path = archive(tmp_path / "a.tar.gz", covered, format=tarfile.USTAR_FORMAT)
    with tarfile.open(path) as tar:
        assert "safe" in tar.getnames()  # what a reader with extensions sees
    with pytest.raises(UntrustedRelease, match="plain name"):
        inspect(path, "agent/bin/agent")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), value=st.integers(0, 255), unpacked=st.booleans())
def test_any_flipped_byte_gives_a_listing_or_a_refusal(tmp_path: Path, at: int, value: int, *, unpacked: bool) -> None:
    path = archive(tmp_path / "a.tar.gz", [GOOD, member("l", type=tarfile.SYMTYPE, linkname="agent")])
    content = bytearray(gzip.decompress(path.read_bytes()) if unpacked else path.read_bytes())
    content[at % len(content)] = value
    path.write_bytes(gzip.compress(content) if unpacked else content)
    try:
        listing = inspect(path, "agent/bin/agent")
    except UntrustedRelease:
        return
    assert not any(m.path.startswith(("/", "..")) for m in listing.members)
