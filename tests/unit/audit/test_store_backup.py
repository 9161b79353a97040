"""The backup of the history that docs/production.md tells people to make can be put back (issue 5: 1; R5)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.history import History
from upkeep.audit.rebuilding import rebuild
from upkeep.audit.verifying import verify_history
from upkeep.domain.change import RunOutcome

if TYPE_CHECKING:
    from tests.postgresql import Cluster

PAGE = Path(__file__).resolve().parents[3] / "docs" / "production.md"


def test_a_copy_made_while_the_history_is_written_to_is_whole_and_proved_by_its_checkpoints(
    history: History, database: Path, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    for number in range(50):
        history.record("r1", "note", reason=f"{number}")
    history.close_run("r1", RunOutcome.SUCCEEDED, "all well")
    (command,) = re.findall(r"python3 (-c .*)$", PAGE.read_text(), re.MULTILINE)
    subprocess.run(f"{sys.executable} {command}", cwd=database.parent, shell=True, check=True)  # noqa: S602 - as people type it
    copy = History.open(f"sqlite:///{database.parent / 'copy.db'}")
    assert copy.verify().ok
    assert len(copy.events("r1")) == len(history.events("r1"))
    assert copy.run("r1").outcome is RunOutcome.SUCCEEDED
    copy.record("r1", "note", reason="the copy is written to from here on")
    assert copy.verify().ok
    copy.close()


def test_a_dump_of_postgresql_is_put_back_as_the_page_says_whole_proved_and_with_what_refuses_changes(
    postgresql: Cluster, tmp_path: Path
) -> None:
    from tests.postgresql import programs
    from tests.unit.audit.conftest import run_record
    from tests.unit.audit.raw_database import RawDatabase
    from upkeep.audit.copies import Copies
    from upkeep.audit.signing import KeyFolder

    (dump,) = re.findall(r"^(pg_dump .*?)\s{2,}", PAGE.read_text(), re.MULTILINE)
    (restore,) = re.findall(r"`(pg_restore .*?)`", PAGE.read_text())
    address = postgresql.database()
    name = address.partition("?")[0].rpartition("/")[2]
    history = History.open(address)
    checkpoints = history.seal(KeyFolder(tmp_path / "keys"), Copies(str(tmp_path / "outside")))
    history.open_run(run_record())
    history.close_run("r1", RunOutcome.SUCCEEDED, "all well")

    def as_written(command: str) -> None:
        reach = {"PGHOST": str(postgresql.sockets), "PGUSER": "upkeep", "PATH": f"{programs()}:{os.environ['PATH']}"}
        words = [name if word == "upkeep" else word for word in command.split()]
        subprocess.run(words, cwd=tmp_path, env=os.environ | reach, check=True, capture_output=True)

    as_written(dump)
    history.record("r1", "note", reason="after the backup")
    checkpoints.make()
    history.close()
    as_written(restore)
    restored = History.open(address)
    assert restored.run("r1").outcome is RunOutcome.SUCCEEDED
    assert all(model.same for model in rebuild(restored, keep=False))
    state = verify_history(restored, checkpoints.copies, checkpoints.keys.publics())
    assert state.problems[0].reason.startswith("event 3 is missing: checkpoint 2"), (
        "what came after the backup stays visible"
    )
    raw = RawDatabase(address)
    with pytest.raises(Exception, match="append-only"):
        raw.execute("DELETE FROM event")
    raw.close()
    restored.record("r1", "note", reason="written on")
    assert restored.verify().ok
    restored.close()
    postgresql.drop(address)
