"""The backup of the history that docs/production.md tells people to make can be put back (issue 5: 1; R5)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from upkeep.audit.checkpoints import Checkpoints
from upkeep.audit.history import History
from upkeep.domain.change import RunOutcome

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
