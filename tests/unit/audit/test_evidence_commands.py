"""`upkeep history verify`, `rotate-key` and `export` as people call them (fault 55)."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.audit.conftest import run_record
from upkeep.cli import app
from upkeep.commands import diagnosing, evidence
from upkeep.domain.change import RunOutcome
from upkeep.errors import BadInput
from upkeep.settings import Settings
from upkeep.wiring import Site


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path / "home")}))
    monkeypatch.setattr(evidence, "site", lambda: site)
    monkeypatch.setattr(diagnosing, "site", lambda: site)
    monkeypatch.chdir(tmp_path)
    site.history.open_run(run_record("r1"))
    site.history.close_run("r1", RunOutcome.SUCCEEDED, "all well")
    yield site
    site.checkpoints.close()
    site.history.close()


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["history", *words])


def test_a_run_is_exported_and_the_verifier_it_holds_proves_it(here: Site, tmp_path: Path) -> None:
    assert call("rotate-key", "--reason", "yearly").exit_code == 0
    assert call("export", "last").exit_code == 0
    with zipfile.ZipFile(tmp_path / "upkeep-r1.zip") as pack:
        (tmp_path / "verify.py").write_bytes(pack.read("verify.py"))
    (key,) = [path for path in here.settings.keys.glob("*.pem") if path.stem == here.checkpoints.keys.current().id]
    words = [sys.executable, "-I", "verify.py", "upkeep-r1.zip", "--key", str(key)]
    assert subprocess.run(words, cwd=tmp_path, check=False, capture_output=True).returncode == 0


def test_verify_says_good_and_names_what_a_copy_elsewhere_contradicts(here: Site, tmp_path: Path) -> None:
    assert call("verify").exit_code == 0
    (copy,) = (here.settings.home / "checkpoints").iterdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / copy.name).write_text(copy.read_text().replace('"upto_seq":2', '"upto_seq":3'))
    done = call("verify", "--checkpoints", str(elsewhere), "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["ok"], said["problems"][0]["checkpoint"]) == (1, False, 1)
    empty = call("verify", "--checkpoints", str(tmp_path / "nowhere"))
    assert isinstance(empty.exception, BadInput)


def test_doctor_warns_of_checkpoints_without_a_copy(here: Site) -> None:
    finding = diagnosing._history(here.settings)
    assert finding.verdict.value == "pass"
    for path in (here.settings.home / "checkpoints").iterdir():
        path.unlink()
    (here.settings.home / "checkpoints").rmdir()
    (here.settings.home / "checkpoints").write_text("in the way")
    here.checkpoints.make()
    finding = diagnosing._history(here.settings)
    assert "have no copy yet" in finding.reason
    assert finding.verdict.value == "fail", "the first one's copy is gone"


@pytest.mark.parametrize(
    "words",
    [
        ("export",),
        ("export", "last", "--since", "2026-01-01"),
        ("export", "--since", "yesterday"),
        ("export", "--since", "2026-01-01", "--format", "xml"),
        ("verify", "--key", "/nowhere.pem"),
    ],
)
def test_what_cannot_be_exported_or_verified_is_refused_in_plain_words(here: Site, words: tuple[str, ...]) -> None:
    done = call(*words)
    assert isinstance(done.exception, BadInput)


def test_a_period_goes_to_standard_output_or_to_a_file(here: Site, tmp_path: Path) -> None:
    done = call("export", "--since", "2026-01-01")
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == ["upkeep.run.opened", "upkeep.run.closed"]
    assert call("export", "--since", "2026-01-01", "--format", "csv", "--out", "all.csv").exit_code == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 3
    assert call("export", "--until", "2020-01-01").stdout == ""
