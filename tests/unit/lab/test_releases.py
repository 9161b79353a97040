from __future__ import annotations

import hashlib
import io
import platform
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from upkeep.domain.release import Release
from upkeep.errors import BadInput
from upkeep.lab.bad_releases import FLAWS, build_bad_release, sign_with_p384
from upkeep.lab.certificates import public_pem
from upkeep.lab.releases import VARIANTS, ReleaseFiles, agent_members, build_release, packed, program

KEY = ec.generate_private_key(ec.SECP256R1())
SOON = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def good(tmp_path: Path) -> ReleaseFiles:
    return build_release(tmp_path / "good", "1.5.0", seq=10500, expires=SOON, key=KEY)


def openssl_verifies(files: ReleaseFiles, key: ec.EllipticCurvePrivateKey, folder: Path) -> bool:
    (folder / "key.pem").write_bytes(public_pem(key))
    command = [
        "openssl",
        "dgst",
        "-sha256",
        "-verify",
        str(folder / "key.pem"),
        "-signature",
        str(files.signature),
        str(files.manifest),
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_release_is_a_manifest_that_upkeep_reads_and_describes_its_archive(good: ReleaseFiles) -> None:
    release = Release.model_validate_json(good.manifest.read_bytes())
    artifact = release.artifact_for(platform.machine(), "gnu")
    assert artifact is not None
    content = good.archive.read_bytes()
    assert (artifact.size_bytes, artifact.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert artifact.url == good.archive.name
    assert good.archive.name.startswith("ms-720-agent-1.5.0-linux-")


def test_its_signature_is_what_openssl_verifies(good: ReleaseFiles, tmp_path: Path) -> None:
    assert openssl_verifies(good, KEY, tmp_path)
    good.manifest.write_bytes(good.manifest.read_bytes() + b" ")
    assert not openssl_verifies(good, KEY, tmp_path)


def test_the_same_version_gives_the_same_archive(good: ReleaseFiles, tmp_path: Path) -> None:
    again = build_release(tmp_path / "again", "1.5.0", seq=1, expires=SOON, key=KEY)
    assert again.archive.read_bytes() == good.archive.read_bytes()


def test_the_archive_holds_one_executable_program(good: ReleaseFiles, tmp_path: Path) -> None:
    with tarfile.open(good.archive) as archive:
        programs = [member for member in archive.getmembers() if member.name.endswith("/ms-720-agent")]
        archive.extractall(tmp_path, filter="data")
    assert [oct(member.mode) for member in programs] == ["0o755"]
    shown = subprocess.run([tmp_path / programs[0].name, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == "ms-720-agent 1.5.0\n"


def test_the_program_runs_where_python_lies_in_a_folder_with_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "a folder's name"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    path = tmp_path / "agent"
    path.write_bytes(program("1.5.0", python=str(folder / "python")))
    path.chmod(0o755)
    assert (
        subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout == "ms-720-agent 1.5.0\n"
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_a_program_of_its_own_with_the_same_version(variant: str, tmp_path: Path) -> None:
    files = build_release(tmp_path, "1.5.0", variant=variant, seq=1, expires=SOON, key=KEY)
    assert files.release.version == "1.5.0"
    assert packed(agent_members("1.5.0", variant)) != packed(agent_members("1.5.0"))


def test_an_unknown_variant_is_refused_with_the_ones_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="crash-loop"):
        build_release(tmp_path, "1.5.0", variant="sleepy", seq=1, expires=SOON, key=KEY)


@pytest.mark.parametrize("flaw", FLAWS)
def test_every_bad_release_has_exactly_the_flaw_it_is_named_for(flaw: str, tmp_path: Path) -> None:
    files = build_bad_release(tmp_path / flaw, flaw, key=KEY)
    release = Release.model_validate_json(files.manifest.read_bytes())
    content = files.archive.read_bytes()
    signed = files.signature.exists() and openssl_verifies(files, KEY, tmp_path)
    assert signed == (flaw not in {"unsigned", "wrong-key", "p384-key", "edited"})
    assert (release.expires < datetime.now(UTC)) == (flaw == "expired")
    assert (release.release_seq < 10500) == (flaw == "older")
    intact = hashlib.sha256(content).hexdigest() == release.artifacts[0].sha256
    assert intact == (flaw != "truncated")
    if intact:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            escapes = [m for m in archive if m.name.startswith(("/", "../")) or m.linkname.startswith(("/", "../"))]
        assert bool(escapes) == (flaw.endswith(("-member", "-out")))


def test_a_p384_signature_verifies_when_its_key_is_trusted(good: ReleaseFiles, tmp_path: Path) -> None:
    assert openssl_verifies(good, sign_with_p384(good), tmp_path)


def test_an_unknown_flaw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="unsigned"):
        build_bad_release(tmp_path, "sleepy", key=KEY)
