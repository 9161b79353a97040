"""Which releases are trusted, and how the others are refused."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.services.publisher import ARTIFACT, NOW, Publisher, foreign_keys
from tests.unit.services.site import Site
from upkeep.domain.release import Artifact
from upkeep.errors import ArtifactError, BadInput, ServiceError, UntrustedRelease
from upkeep.services.releases import fetch_artifact


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


def test_a_signed_recent_release_is_trusted(publisher: Publisher) -> None:
    publisher.publish()
    trusted = publisher.read()
    assert trusted.release.version == "1.5.0"
    assert trusted.key_ids == ("a",)
    assert trusted.manifest == publisher.manifest.read_bytes()
    assert trusted.manifest_sha256 == hashlib.sha256(trusted.manifest).hexdigest()


@pytest.mark.parametrize("wrapped", [base64.b64encode, base64.encodebytes])
def test_a_signature_may_be_base64(publisher: Publisher, wrapped: object) -> None:
    publisher.publish()
    signature = publisher.folder / "release.json.sig"
    signature.write_bytes(wrapped(signature.read_bytes()))  # type: ignore[operator]
    assert publisher.read().key_ids == ("a",)


def test_any_change_to_the_bytes_voids_the_signature(publisher: Publisher) -> None:
    publisher.publish()
    text = publisher.manifest.read_bytes()
    for spoilt in (text + b"\n", text.replace(b"  ", b" "), text.replace(b"1.5.0", b"1.5.1")):
        publisher.manifest.write_bytes(spoilt)
        with pytest.raises(UntrustedRelease, match="signature is not valid"):
            publisher.read()


def test_a_truncated_manifest_says_so(publisher: Publisher) -> None:
    publisher.publish()
    publisher.manifest.write_bytes(publisher.manifest.read_bytes()[:-40])
    with pytest.raises(UntrustedRelease, match="cut short"):
        publisher.read()


@pytest.mark.parametrize("signature", [b"", b"0", b"0E\x02\x20", b"not base64 !", b"\xff" * 70, b"MEUCIQ=="])
def test_a_signature_that_is_garbage_is_refused(publisher: Publisher, signature: bytes) -> None:
    publisher.publish()
    (publisher.folder / "release.json.sig").write_bytes(signature)
    with pytest.raises(UntrustedRelease, match="signature is not valid"):
        publisher.read()


def test_a_raw_signature_without_der_is_refused(publisher: Publisher) -> None:
    publisher.publish()
    (publisher.folder / "release.json.sig").write_bytes(b"\x01" * 64)
    with pytest.raises(UntrustedRelease):
        publisher.read()


def test_an_unsigned_release_says_where_the_signature_belongs(publisher: Publisher) -> None:
    publisher.publish_signed_by()
    with pytest.raises(UntrustedRelease, match=r"not signed.*release\.json\.sig"):
        publisher.read()


@pytest.mark.parametrize("kind", ["RSA", "Ed25519", "secp384r1"])
def test_keys_of_other_kinds_are_refused_by_name(publisher: Publisher, kind: str) -> None:
    publisher.publish()
    (publisher.folder / "b.pem").write_bytes(foreign_keys()[kind])
    with pytest.raises(UntrustedRelease, match=rf"b\.pem.*{kind}.*P-256"):
        publisher.read()


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----\n", b"\x00\xff"])
def test_a_key_file_that_is_no_key_is_named(publisher: Publisher, content: bytes) -> None:
    publisher.publish()
    (publisher.folder / "a.pem").write_bytes(content)
    with pytest.raises(UntrustedRelease, match=r"a\.pem.*PEM"):
        publisher.read()
    (publisher.folder / "a.pem").unlink()
    with pytest.raises(UntrustedRelease, match=r"a\.pem.*cannot be read"):
        publisher.read()


def test_a_revoked_key_does_not_count_even_when_its_file_is_gone(publisher: Publisher) -> None:
    publisher.publish()
    publisher.revoked = frozenset({"a"})
    with pytest.raises(UntrustedRelease, match="signed by revoked a"):
        publisher.read()
    (publisher.folder / "a.pem").unlink()
    with pytest.raises(UntrustedRelease, match="signature is not valid"):
        publisher.read()


def test_k_different_keys_must_have_signed(publisher: Publisher) -> None:
    publisher.threshold = 2
    publisher.publish_signed_by("a")
    with pytest.raises(UntrustedRelease, match="1 of 2 needed"):
        publisher.read()
    publisher.publish_signed_by("a", "c")
    assert publisher.read().key_ids == ("a", "c")
    publisher.revoked = frozenset({"c"})
    with pytest.raises(UntrustedRelease, match=r"1 of 2 needed; signed by revoked c"):
        publisher.read()


def test_one_key_cannot_count_twice(publisher: Publisher) -> None:
    publisher.threshold = 2
    publisher.publish_signed_by("a")
    for name in ("release.json.sig", "release.json.b.sig"):
        (publisher.folder / name).write_bytes(publisher.sign("a"))
    with pytest.raises(UntrustedRelease, match="1 of 2 needed"):
        publisher.read()
    (publisher.folder / "b.pem").write_bytes((publisher.folder / "a.pem").read_bytes())
    with pytest.raises(UntrustedRelease, match="1 of 2 needed"):
        publisher.read()


def test_a_threshold_that_no_release_can_reach_is_refused(publisher: Publisher) -> None:
    publisher.publish()
    publisher.threshold = 4
    with pytest.raises(UntrustedRelease, match="only 3 different keys"):
        publisher.read()


def test_an_expired_release_is_refused_and_an_implausible_clock_first(publisher: Publisher) -> None:
    publisher.publish(expires="2020-01-01T00:00:00Z")
    with pytest.raises(UntrustedRelease, match=r"expires: .*expired; found: 2020-01-01"):
        publisher.read()
    with pytest.raises(UntrustedRelease, match="clock is wrong"):
        publisher.read(now=datetime(2019, 1, 1, tzinfo=UTC))
    publisher.publish(expires=NOW.isoformat())
    with pytest.raises(UntrustedRelease, match="expired"):
        publisher.read()
    publisher.read(now=NOW - timedelta(seconds=1))


def test_a_release_older_than_one_seen_is_refused(publisher: Publisher) -> None:
    publisher.publish()
    asked: list[tuple[str, str]] = []

    def seen(channel: str, key: str) -> int:
        asked.append((channel, key))
        return 8

    with pytest.raises(UntrustedRelease, match=r"release_seq: .*older.*found: 7; allowed: 8 or more"):
        publisher.read(seen=seen)
    assert asked == [("stable", "a")]
    assert publisher.read(seen=lambda _channel, _key: 7).release.release_seq == 7


def test_revoking_a_key_frees_a_sequence_that_it_pushed_too_far(publisher: Publisher) -> None:
    publisher.publish_signed_by("a", "b")
    stuck = {("stable", "a"): 10**9}
    with pytest.raises(UntrustedRelease, match="older"):
        publisher.read(seen=lambda channel, key: stuck.get((channel, key)))
    publisher.revoked = frozenset({"a"})
    assert publisher.read(seen=lambda channel, key: stuck.get((channel, key))).key_ids == ("b",)


def test_another_agents_release_is_refused(publisher: Publisher) -> None:
    publisher.publish(product="other")
    with pytest.raises(UntrustedRelease, match=r"product: .*found: other; allowed: ms-720"):
        publisher.read()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sizes": 1}, r"json:\d+: sizes: unknown key 'sizes'"),
        ({"version": "new"}, r"json:3: version: 'new' is not a version"),
        ({"version": 1.5}, r"version: has the wrong type; found: 1.5 \(a number\)"),
        ({"expires": "2026-12-31T00:00:00"}, r"expires: .*zone"),
        ({"artifacts": []}, "artifacts: has too few entries"),
        ({"upgrade_from": ">= banana"}, "upgrade_from: .*banana"),
        ({"release_seq": -1}, "release_seq: is out of range"),
    ],
)
def test_signed_nonsense_is_refused_with_line_and_key(
    publisher: Publisher, change: dict[str, object], said: str
) -> None:
    publisher.publish(**change)
    with pytest.raises(UntrustedRelease, match=said):
        publisher.read()


@pytest.mark.parametrize(
    "text", [b"{}", b"[]", b'{"product": "a", "product": "b"}', b"hello}", b'{"release_seq": NaN}', b"[" * 99]
)
def test_signed_text_that_is_no_manifest_is_refused(publisher: Publisher, text: bytes) -> None:
    publisher.publish(text)
    with pytest.raises(UntrustedRelease):
        publisher.read()


def test_two_artifacts_for_one_platform_are_refused(publisher: Publisher) -> None:
    artifacts = publisher.facts()["artifacts"]
    publisher.publish(artifacts=[*artifacts, *artifacts])  # type: ignore[misc]
    with pytest.raises(UntrustedRelease, match="two artifacts"):
        publisher.read()


def test_a_missing_or_huge_manifest_is_bad_input(publisher: Publisher) -> None:
    with pytest.raises(BadInput, match="no such release manifest"):
        publisher.read("nowhere.json")
    publisher.publish(notes="x" * 1024**2)
    with pytest.raises(UntrustedRelease, match="too large"):
        publisher.read()
    with pytest.raises(BadInput, match="cannot be read"):
        publisher.read(".")


def test_manifest_signature_and_artifact_come_from_a_url_alike(
    publisher: Publisher, site: Site, tmp_path: Path
) -> None:
    publisher.publish()
    site.serve("/r/release.json", publisher.manifest.read_bytes())
    site.serve("/r/release.json.sig", (publisher.folder / "release.json.sig").read_bytes())
    site.serve("/r/agent.tar.gz", ARTIFACT)
    trusted = publisher.read(f"{site.url}/r/release.json?channel=stable")
    assert trusted.key_ids == ("a",)
    assert ("/r/release.json.sig?channel=stable", site.asked[1][1]) == site.asked[1]
    path = fetch_artifact(trusted, trusted.release.artifacts[0], tmp_path / "cache")
    assert path.read_bytes() == ARTIFACT


def test_a_server_that_fails_is_told_apart_from_an_unsigned_release(publisher: Publisher, site: Site) -> None:
    publisher.publish()
    site.serve("/release.json", publisher.manifest.read_bytes())
    with pytest.raises(UntrustedRelease, match="not signed"):
        publisher.read(f"{site.url}/release.json")
    site.serve("/release.json.sig", b"", 503)
    with pytest.raises(BadInput, match="HTTP status 503"):
        publisher.read(f"{site.url}/release.json")
    with pytest.raises(ServiceError):
        publisher.read("http://127.0.0.1:1/release.json")


def test_a_local_artifact_lies_relative_to_its_manifest(publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish()
    trusted = publisher.read()
    assert fetch_artifact(trusted, trusted.release.artifacts[0], tmp_path / "cache").read_bytes() == ARTIFACT
    odd = Artifact.model_validate({**json.loads(trusted.manifest)["artifacts"][0], "url": "file:///etc/passwd"})
    with pytest.raises(ArtifactError, match="not an address"):
        fetch_artifact(trusted, odd, tmp_path / "cache2")
