"""Artifacts come whole, from wherever they were cut off, or not at all."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.services.site import Request, Site
from upkeep.errors import ArtifactError, ChecksumMismatch
from upkeep.services.downloads import Patience, Wanted, copied, fetched

CONTENT = bytes(range(256)) * 800
QUICK = Patience(
    total=timedelta(seconds=3),
    idle=timedelta(seconds=0.5),
    watched=timedelta(seconds=0.2),
    pause=timedelta(0),
    attempts=2,
)
ONCE = replace(QUICK, attempts=1)


def wanted(site: Site, path: str = "/a.tar.gz", content: bytes = CONTENT) -> Wanted:
    return Wanted(f"{site.url}{path}", len(content), hashlib.sha256(content).hexdigest())


def files(cache: Path) -> set[str]:
    return {path.suffix or "whole" for path in cache.iterdir()} - {".lock"}


def test_a_file_is_fetched_once_and_then_taken_from_the_cache(site: Site, tmp_path: Path) -> None:
    site.serve("/a.tar.gz", CONTENT)
    first = fetched(wanted(site), tmp_path / "cache", patience=QUICK)
    again = fetched(wanted(site), tmp_path / "cache", patience=QUICK)
    assert first == again
    assert first.read_bytes() == CONTENT
    assert len(site.asked) == 1
    assert files(tmp_path / "cache") == {"whole"}


def test_a_damaged_file_in_the_cache_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    site.serve("/a.tar.gz", CONTENT)
    fetched(wanted(site), tmp_path, patience=QUICK).write_bytes(CONTENT[:-1] + b"!")
    assert fetched(wanted(site), tmp_path, patience=QUICK).read_bytes() == CONTENT


def test_a_cut_connection_is_continued_where_it_ended(site: Site, tmp_path: Path) -> None:
    site.serve_resumable("/a.tar.gz", CONTENT, '"v1"', cut_after=150_000)
    assert fetched(wanted(site), tmp_path, patience=QUICK).read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in site.asked] == [None, "bytes=150000-"]
    assert site.asked[1][1]["If-Range"] == '"v1"'


def test_a_later_run_continues_what_an_earlier_one_left(site: Site, tmp_path: Path) -> None:
    site.serve_resumable("/a.tar.gz", CONTENT, '"v1"', cut_after=150_000)
    with pytest.raises(ArtifactError, match="150000"):
        fetched(wanted(site), tmp_path, patience=ONCE)
    assert files(tmp_path) == {".part", ".origin"}
    assert fetched(wanted(site), tmp_path, patience=ONCE).read_bytes() == CONTENT
    assert files(tmp_path) == {"whole"}


def test_a_file_that_changed_in_between_is_fetched_from_the_start(site: Site, tmp_path: Path) -> None:
    site.serve_resumable("/a.tar.gz", b"\0" * len(CONTENT), '"old"', cut_after=150_000)
    with pytest.raises(ArtifactError):
        fetched(wanted(site), tmp_path, patience=ONCE)
    site.serve_resumable("/a.tar.gz", CONTENT, '"new"')
    assert fetched(wanted(site), tmp_path, patience=ONCE).read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_without_a_strong_etag_nothing_is_continued(site: Site, tmp_path: Path, etag: str) -> None:
    site.serve_resumable("/a.tar.gz", CONTENT, etag, cut_after=150_000)
    with pytest.raises(ArtifactError):
        fetched(wanted(site), tmp_path, patience=ONCE)
    site.serve("/a.tar.gz", CONTENT)
    assert fetched(wanted(site), tmp_path, patience=ONCE).read_bytes() == CONTENT
    assert "Range" not in site.asked[-1][1]


def test_a_server_that_ignores_range_starts_over(site: Site, tmp_path: Path) -> None:
    site.serve_resumable("/a.tar.gz", CONTENT, '"v1"', cut_after=150_000)
    with pytest.raises(ArtifactError):
        fetched(wanted(site), tmp_path, patience=ONCE)
    site.serve("/a.tar.gz", CONTENT)
    assert fetched(wanted(site), tmp_path, patience=ONCE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "stated",
    [
        "bytes 0-204799/204800",
        "bytes 149999-204799/204800",
        "bytes 150000-204799/999999",
        "bytes 150000-204800/*",
        "all",
        "",
    ],
)
def test_an_answer_for_another_range_is_refused(site: Site, tmp_path: Path, stated: str) -> None:
    site.serve_resumable("/a.tar.gz", CONTENT, '"v1"', cut_after=150_000)
    with pytest.raises(ArtifactError):
        fetched(wanted(site), tmp_path, patience=ONCE)
    site.serve("/a.tar.gz", CONTENT[150_000:], 206, Content_Range=stated)
    with pytest.raises(ArtifactError, match="asked for bytes from 150000"):
        fetched(wanted(site), tmp_path, patience=ONCE)
    assert not list(tmp_path.glob("*.part"))


def test_a_range_the_server_cannot_satisfy_starts_over(site: Site, tmp_path: Path) -> None:
    site.serve_resumable("/a.tar.gz", CONTENT, '"v1"', cut_after=150_000)
    with pytest.raises(ArtifactError):
        fetched(wanted(site), tmp_path, patience=ONCE)

    def answer(request: Request) -> None:
        request.reply(416 if "Range" in request.headers else 200, b"" if "Range" in request.headers else CONTENT)

    site.answers["/a.tar.gz"] = answer
    assert fetched(wanted(site), tmp_path, patience=QUICK).read_bytes() == CONTENT


def test_a_partial_file_spoilt_on_this_machine_costs_one_more_download(site: Site, tmp_path: Path) -> None:
    site.serve_resumable("/a.tar.gz", CONTENT, '"v1"', cut_after=150_000)
    with pytest.raises(ArtifactError):
        fetched(wanted(site), tmp_path, patience=ONCE)
    next(tmp_path.glob("*.part")).write_bytes(b"\0" * 150_000)
    site.serve_resumable("/a.tar.gz", CONTENT, '"v1"')
    assert fetched(wanted(site), tmp_path, patience=QUICK).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "spoilt", [CONTENT[:-1], CONTENT + b"!", b"", CONTENT[:-1] + b"\0"], ids=["short", "long", "empty", "flipped"]
)
def test_a_file_that_is_not_the_signed_one_is_refused_and_not_kept(site: Site, tmp_path: Path, spoilt: bytes) -> None:
    site.serve("/a.tar.gz", spoilt)
    with pytest.raises(ChecksumMismatch, match="not the file that the signed manifest names"):
        fetched(wanted(site), tmp_path, patience=QUICK)
    assert files(tmp_path) <= {".origin"}
    assert not ChecksumMismatch.retryable


def test_an_endless_server_is_left_at_the_signed_size(site: Site, tmp_path: Path) -> None:
    def endless(request: Request) -> None:
        request.head(200)
        while not site.closing.is_set():
            request.wfile.write(CONTENT)

    site.answers["/a.tar.gz"] = endless
    with pytest.raises(ChecksumMismatch, match="more bytes"):
        fetched(wanted(site), tmp_path, patience=QUICK)
    assert not list(tmp_path.glob("*.part"))


def test_a_trickle_below_the_least_rate_is_given_up(site: Site, tmp_path: Path) -> None:
    site.drip("/a.tar.gz", stated_length=len(CONTENT))
    began = time.monotonic()
    with pytest.raises(ArtifactError, match="too slow"):
        fetched(wanted(site), tmp_path, patience=ONCE)
    assert time.monotonic() - began < 1.5


def test_the_total_time_holds_for_all_attempts_together(site: Site, tmp_path: Path) -> None:
    site.drip("/a.tar.gz", stated_length=len(CONTENT))
    patience = replace(QUICK, total=timedelta(seconds=0.3), bytes_per_second=1, attempts=50)
    began = time.monotonic()
    with pytest.raises(ArtifactError, match="no complete answer"):
        fetched(wanted(site), tmp_path, patience=patience)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("status", [403, 404, 500, 206])
def test_any_other_status_is_an_artifact_error(site: Site, tmp_path: Path, status: int) -> None:
    site.serve("/a.tar.gz", b"x", status)
    with pytest.raises(ArtifactError, match=f"status {status}"):
        fetched(wanted(site), tmp_path, patience=ONCE)


def test_https_to_http_redirects_are_refused(site: Site, secure_site: Site, certificate: Path, tmp_path: Path) -> None:
    site.serve("/a.tar.gz", CONTENT)
    secure_site.redirect("/a.tar.gz", f"{site.url}/a.tar.gz")
    with pytest.raises(ArtifactError, match="from https to http"):
        fetched(wanted(secure_site), tmp_path, ca=certificate, patience=ONCE)
    assert site.asked == []


def test_many_callers_at_once_cause_one_download(site: Site, tmp_path: Path) -> None:
    gate = threading.Event()

    def slow(request: Request) -> None:
        gate.wait(2)
        request.reply(200, CONTENT)

    site.answers["/a.tar.gz"] = slow
    with ThreadPoolExecutor(8) as callers:
        waiting = [callers.submit(fetched, wanted(site), tmp_path, patience=QUICK) for _ in range(8)]
        gate.set()
        assert {future.result().read_bytes() == CONTENT for future in waiting} == {True}
    assert len(site.asked) == 1


def test_a_local_file_is_copied_and_checked_the_same_way(tmp_path: Path) -> None:
    source, cache = tmp_path / "a.tar.gz", tmp_path / "cache"
    want = Wanted(str(source), len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(ArtifactError, match="no such file"):
        copied(source, want, cache)
    for spoilt in (CONTENT[:-1], CONTENT[:-1] + b"\0"):
        source.write_bytes(spoilt)
        with pytest.raises(ChecksumMismatch):
            copied(source, want, cache)
        assert files(cache) == set()
    source.write_bytes(CONTENT)
    assert copied(source, want, cache).read_bytes() == CONTENT
    source.unlink()
    assert copied(source, want, cache).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_an_artifact_error(site: Site, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(ArtifactError, match="space and permissions"):
        fetched(wanted(site), tmp_path / "cache", patience=ONCE)


def test_a_partial_file_of_another_address_is_not_continued(site: Site, tmp_path: Path) -> None:
    host = site.url.removeprefix("http://")
    site.serve_resumable("/a.tar.gz", CONTENT, '"v1"', cut_after=150_000)
    with pytest.raises(ArtifactError) as caught:
        fetched(replace(wanted(site), url=f"http://ops:hunter2@{host}/a.tar.gz"), tmp_path, patience=ONCE)
    notes = next(tmp_path.glob("*.origin")).read_text()
    assert json.loads(notes)["validator"] == '"v1"'
    assert "hunter2" not in notes + str(caught.value)
    site.serve("/b.tar.gz", CONTENT)
    assert fetched(wanted(site, "/b.tar.gz"), tmp_path, patience=ONCE).read_bytes() == CONTENT
    assert "Range" not in site.asked[-1][1]
