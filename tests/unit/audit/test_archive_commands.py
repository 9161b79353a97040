"""`upkeep history archive`, `archived`, `restore` and reading from a file, as people call them (issue 6: 6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deployments import services
from tests.unit.audit.conftest import run_record
from tests.unit.audit.test_evidence import verifier
from upkeep.audit import retention
from upkeep.cli import app
from upkeep.commands import archiving, evidence, inspecting
from upkeep.domain.change import HostOutcome, HostResult, RunOutcome
from upkeep.errors import BadInput
from upkeep.settings import Settings
from upkeep.wiring import Site

TOMORROW = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    archives = str(tmp_path / "archives")
    site = Site(Settings.from_environment({"UPKEEP_HOME": str(tmp_path / "home"), "UPKEEP_ARCHIVES": archives}))
    for module in (archiving, evidence, inspecting):
        monkeypatch.setattr(module, "site", lambda: site)
    monkeypatch.chdir(tmp_path)
    site.history.open_run(run_record("r1"))
    site.history.host_result("r1", "web-01", HostResult(outcome=HostOutcome.COMMITTED))
    site.history.close_run("r1", RunOutcome.SUCCEEDED, "all well")
    yield site
    site.checkpoints.close()
    site.history.close()


@pytest.fixture
def old(here: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """As if the run had ended long ago."""
    monkeypatch.setattr(retention, "YOUNGEST", timedelta(days=-2))
    return here


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["history", *words])


def test_a_run_is_archived_read_exported_and_put_back(old: Site, tmp_path: Path) -> None:
    planned = json.loads(call("archive", "--before", TOMORROW, "--dry-run", "--json").stdout)
    assert (planned["archived"], [one["runs"] for one in planned["planned"]]) == ([], [1])
    assert not (tmp_path / "archives").exists()
    done = json.loads(call("archive", "--before", TOMORROW, "--reason", "a year", "--json").stdout)
    file = done["archived"][0]["file"]
    assert "r1" in call("archived").stdout
    assert isinstance(call("show", "r1").exception, BadInput)
    shown = json.loads(call("show", "r1", "--archive", file, "--json").stdout)
    assert shown["hosts"]["web-01"]["outcome"] == "committed"
    assert "web-01" in call("show", "r1", "--archive", file).stdout
    assert call("export", "r1", "--archive", file, "--out", "r1.zip").exit_code == 0
    assert verifier(tmp_path / "r1.zip")[0] == 0
    verified = call("verify")
    assert (verified.exit_code, "archived" in verified.stdout) == (0, True)
    assert call("rebuild", "--check").exit_code == 0
    assert call("restore", file, "--reason", "an audit").exit_code == 0
    assert call("show", "r1").exit_code == 0
    assert "nothing is archived" in call("archived").stdout


def test_an_archive_is_proved_by_hand_and_a_changed_one_is_told(old: Site, tmp_path: Path) -> None:
    assert call("archive", "--before", TOMORROW).exit_code == 0
    (file,) = (tmp_path / "archives").iterdir()
    assert "good: events 1 to 3, 1 runs" in call("archived", str(file)).stdout
    file.write_bytes(file.read_bytes()[:-100])
    changed = call("archived", str(file), "--json")
    assert (changed.exit_code, json.loads(changed.stdout)["ok"]) == (1, False)
    file.unlink()
    assert "the file is not there now" in " ".join(call("verify").stdout.split())
    assert call("verify").exit_code == 0


def test_the_events_of_a_period_say_which_of_them_lie_in_an_archive(old: Site) -> None:
    call("archive", "--before", TOMORROW)
    told = call("export", "--since", "2020-01-01", "--until", TOMORROW)
    assert [json.loads(line)["type"] for line in told.stdout.splitlines()] == ["upkeep.history.archived"]
    assert "not in it: events 1 to 3" in told.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("archive",), "UPKEEP_KEEP_HISTORY"),
        (("archive", "--before", "soon"), "--before is not a time"),
        (("archive", "--before", TOMORROW), "too young"),
    ],
)
def test_what_cannot_be_archived_is_refused_with_the_reason(here: Site, words: tuple[str, ...], said: str) -> None:
    refused = call(*words)
    assert isinstance(refused.exception, BadInput)
    assert said in str(refused.exception)


def test_a_site_that_keeps_so_many_days_needs_no_date(old: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for days, exit_code in (("400", 0), ("many", 1)):
        monkeypatch.setattr(old, "settings", old.settings.model_copy(update={"keep_history": days}))
        assert call("archive").exit_code == exit_code
    assert [run.id for run in old.history.runs()] == ["r1"]


def test_the_controllers_services_keep_to_what_the_site_says_and_say_what_they_did(
    old: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (duty,) = services.ARCHIVES
    assert list(duty.do(old)) == [], "nothing is archived where the site does not say so"
    monkeypatch.setattr(old, "settings", old.settings.model_copy(update={"keep_history": "0"}))
    (said,) = duty.do(old)
    assert "events 1 to 3, 1 runs, are archived in" in said
    (row,) = old.history.archives()
    assert (row.by, row.reason, row.file in said) == ("upkeep", "this site keeps 0 days of history", True)
    assert list(duty.do(old)) == []
