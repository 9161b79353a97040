"""Opening the history: what cannot be used is said with cause and remedy; the schema moves both ways (faults 56, 57)."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlmodel import SQLModel

from tests.unit.audit.conftest import run_record
from upkeep.audit.history import History
from upkeep.domain.record import Happening
from upkeep.errors import AuditError


def test_the_migrations_make_exactly_the_tables_of_the_code(history: History, database: Path) -> None:
    with create_engine(f"sqlite:///{database}").connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_the_schema_can_be_taken_down_with_data_in_it_and_put_up_again(history: History, database: Path) -> None:
    history.close()
    config = Config()
    config.set_main_option("script_location", "upkeep:audit/migrations")
    with create_engine(f"sqlite:///{database}").connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
    again = History.open(f"sqlite:///{database}")
    assert again.runs() == []
    again.close()


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda path: path.write_text("not a database at all, but long enough to be read as one" * 20), "move it away"),
        (lambda path: path.mkdir(), "set UPKEEP_HOME or UPKEEP_DATABASE_URL"),
    ],
)
def test_a_history_that_cannot_be_used_says_why_and_what_to_do(tmp_path: Path, prepare, said: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "history.db"
    prepare(path)
    with pytest.raises(AuditError, match=said):
        History.open(f"sqlite:///{path}")


def test_a_history_of_a_newer_upkeep_is_left_alone(history: History, database: Path) -> None:
    history.close()
    with sqlite3.connect(database) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(AuditError, match="newer Upkeep"):
        History.open(f"sqlite:///{database}")


def test_an_address_with_a_password_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(AuditError) as caught:
        History.open("postgresql+nodriver://me:hunter2-hunter2@nowhere/x")
    assert "hunter2" not in str(caught.value)


_DIE = """
import os, signal, sys
from tests.unit.audit.conftest import run_record
from upkeep.audit.history import History
from upkeep.domain.change import Step
history = History.open(sys.argv[1])
history.open_run(run_record("dies"))
with history.step("dies", "h1", Step.SWITCH):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_the_intent_is_there_and_nobody_claims_to_know_the_result(database: Path) -> None:
    url = f"sqlite:///{database}"
    died = subprocess.run(
        [sys.executable, "-c", _DIE, url],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    history = History.open(url)
    assert [(s.host, s.happening, s.ended_at) for s in history.steps("dies")] == [("h1", Happening.INTENT, None)]
    assert history.run("dies").outcome is None
    assert history.verify().ok
    history.open_run(run_record("lives"))
    history.close()


def test_two_controllers_migrate_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'history.db'}"
    program = "import sys; from upkeep.audit.history import History; History.open(sys.argv[1]).close()"
    both = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(3)]
    assert [process.wait(60) for process in both] == [0, 0, 0]
