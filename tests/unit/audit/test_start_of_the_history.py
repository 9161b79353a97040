"""Opening a history that is up to date costs no import of Alembic (issue 4: 5)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from upkeep.audit.database import MIGRATIONS, newest_version
from upkeep.audit.history import History


def test_the_newest_version_is_the_one_alembic_knows() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert newest_version() == ScriptDirectory.from_config(config).get_current_head()


def test_a_history_that_is_up_to_date_is_opened_without_alembic(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'history.db'}"
    History.open(address).close()
    code = f"import sys; from upkeep.audit.history import History; History.open('{address}').close(); print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
