"""Releases as publishers make them: signed by openssl, packed by tar, served over HTTP."""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.services.publisher import Publisher
from tests.unit.services.site import running
from upkeep.errors import UntrustedRelease
from upkeep.services.archives import inspect
from upkeep.services.downloads import Patience
from upkeep.services.releases import fetch_artifact

AT_ONCE = Patience(pause=timedelta(0))


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, cwd=cwd, capture_output=True, check=False)


def openssl_accepts(folder: Path) -> bool:
    verify = ("openssl", "dgst", "-sha256", "-verify", "a.pem", "-signature", "release.json.sig", "release.json")
    return run(*verify, cwd=folder).returncode == 0


def accepts(publisher: Publisher) -> bool:
    try:
        publisher.read()
    except UntrustedRelease as refused:
        assert "signature is not valid" in str(refused)  # noqa: PT017 - the reason, not the refusal, is in question
        return False
    return True


def test_openssl_and_upkeep_agree_on_every_signature(publisher: Publisher) -> None:
    publisher.publish()
    text, good = publisher.manifest.read_bytes(), publisher.sign("a")
    other = ec.generate_private_key(ec.SECP256R1()).sign(text, ec.ECDSA(hashes.SHA256()))
    wrong_hash = publisher.keys["a"].sign(text, ec.ECDSA(hashes.SHA384()))
    flipped = [good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :] for n in range(0, len(good), 6)]
    cases = [good, publisher.sign("a"), other, wrong_hash, good[:-1], b"\0" + good, *flipped]
    verdicts = []
    for signature in cases:
        (publisher.folder / "release.json.sig").write_bytes(signature)
        verdicts.append((openssl_accepts(publisher.folder), accepts(publisher)))
    assert all(theirs == ours for theirs, ours in verdicts)
    (publisher.folder / "release.json.sig").write_bytes(good + b"\0")
    assert not accepts(publisher)  # openssl's command reads no further than the longest signature and may let this pass
    assert verdicts[:4] == [(True, True), (True, True), (False, False), (False, False)]


def test_a_release_made_with_openssl_and_tar_alone_is_fetched_and_judged(publisher: Publisher, tmp_path: Path) -> None:
    folder = publisher.folder
    for command in (
        ("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "a.key"),
        ("openssl", "ec", "-in", "a.key", "-pubout", "-out", "a.pem"),
        ("mkdir", "-p", "agent-1.5.0/bin"),
        ("dd", "if=/dev/urandom", "of=agent-1.5.0/bin/ms-720-agent", "bs=1024", "count=700"),
        ("tar", "-czf", "agent.tar.gz", "agent-1.5.0"),
    ):
        assert run(*command, cwd=folder).returncode == 0
    packed = (folder / "agent.tar.gz").read_bytes()
    artifact = {
        "arch": "amd64",
        "url": "agent.tar.gz",
        "size_bytes": len(packed),
        "sha256": hashlib.sha256(packed).hexdigest(),
    }
    publisher.manifest.write_text(json.dumps(publisher.facts(artifacts=[artifact])))
    sign = ("openssl", "dgst", "-sha256", "-sign", "a.key", "-out", "release.json.sig", "release.json")
    assert run(*sign, cwd=folder).returncode == 0

    with running() as site:
        for name in ("release.json", "release.json.sig"):
            site.serve(f"/{name}", (folder / name).read_bytes())
        site.serve_resumable("/agent.tar.gz", packed, '"1"', cut_after=300_000)
        trusted = publisher.read(f"{site.url}/release.json")
        fetched = fetch_artifact(trusted, trusted.release.artifacts[0], tmp_path / "cache", patience=AT_ONCE)
    listing = inspect(fetched, "agent-*/bin/ms-720-agent")
    assert listing.binary == "agent-1.5.0/bin/ms-720-agent"
    assert fetched.read_bytes() == packed


@pytest.mark.parametrize("form", ["gnu", "ustar", "pax", "v7"])
def test_the_forms_that_gnu_tar_writes_are_understood(tmp_path: Path, form: str) -> None:
    long_name = "agent/" + "/".join(["a" * 40] * (1 if form == "v7" else 5))
    (tmp_path / long_name).mkdir(parents=True)
    (tmp_path / long_name / "agent-bin").write_bytes(b"binary" * 100)
    (tmp_path / "agent" / "current").symlink_to("a" * 40)
    assert run("tar", f"--format={form}", "-czf", "a.tar.gz", "./agent", cwd=tmp_path).returncode == 0
    listing = inspect(tmp_path / "a.tar.gz", "*/agent-bin")
    names = run("tar", "-tzf", "a.tar.gz", cwd=tmp_path).stdout.decode().split()
    assert [m.name.rstrip("/") for m in listing.members] == [name.rstrip("/") for name in names]
    assert run("tar", "-xzOf", "a.tar.gz", listing.binary, cwd=tmp_path).stdout == b"binary" * 100
