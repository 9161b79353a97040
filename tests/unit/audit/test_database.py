"""Opening the history: what cannot be used is said with cause and remedy; the schema moves both ways (issue 6: 6; faults 56, 57)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlmodel import SQLModel

from tests.unit.audit.conftest import run_record
from tests.unit.audit.raw_database import RawDatabase
from upkeep.audit.database import with_driver
from upkeep.audit.history import History
from upkeep.domain.change import HostOutcome, HostResult, Step
from upkeep.domain.finding import Finding, Verdict
from upkeep.domain.record import Happening
from upkeep.errors import AuditError

if TYPE_CHECKING:
    from tests.postgresql import Cluster


def test_the_migrations_make_exactly_the_tables_of_the_code(history: History, address: str) -> None:
    with create_engine(with_driver(address)).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_the_schema_can_be_taken_down_with_data_in_it_and_put_up_again(history: History, address: str) -> None:
    with history.step("r1", "h1", Step.CHECK):
        history.findings("r1", "h1", "check", [Finding(check="a.b", verdict=Verdict.PASS, reason="x")])
    history.note_release("ms-720/stable", "k1", 2**40, "r1")
    history.close()
    config = Config()
    config.set_main_option("script_location", "upkeep:audit/migrations")
    with create_engine(with_driver(address)).connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
    again = History.open(address)
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


def test_a_history_of_a_newer_upkeep_is_left_alone(history: History, raw: RawDatabase, address: str) -> None:
    history.close()
    raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.commit()
    with pytest.raises(AuditError, match="newer Upkeep"):
        History.open(address)


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


def test_after_a_kill_the_intent_is_there_and_nobody_claims_to_know_the_result(address: str) -> None:
    died = subprocess.run(
        [sys.executable, "-c", _DIE, address],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    history = History.open(address)
    assert [(s.host, s.happening, s.ended_at) for s in history.steps("dies")] == [("h1", Happening.INTENT, None)]
    assert history.run("dies").outcome is None
    assert history.verify().ok
    history.open_run(run_record("lives"))
    history.close()


def test_three_controllers_migrate_at_once(address: str) -> None:
    program = "import sys; from upkeep.audit.history import History; History.open(sys.argv[1]).close()"
    all_three = [subprocess.Popen([sys.executable, "-c", program, address]) for _ in range(3)]
    assert [process.wait(60) for process in all_three] == [0, 0, 0]


@pytest.mark.parametrize("text", ["a NUL \x00 in it", "half a pair \ud800 in it"])
def test_what_a_host_printed_never_makes_a_write_fail(history: History, text: str) -> None:
    with history.step("r1", "h1", Step.CHECK) as step:
        step.reason = text
        step.body["output"] = text
    history.host_result("r1", "h1", HostResult(outcome=HostOutcome.FAILED, reason=text))
    history.findings("r1", "h1", "check", [Finding(check="a.b", verdict=Verdict.FAIL, reason=text)])
    assert history.steps("r1")[0].reason == text.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert history.verify().ok


def test_after_postgresql_was_gone_for_a_while_the_history_goes_on(history: History, raw: RawDatabase) -> None:
    if not raw.is_sqlite:
        raw.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    history.record("r1", "note")
    assert history.verify().ok


@pytest.mark.parametrize(
    ("path", "said"), [("/nowhere?host={sockets}", "create the database"), ("/x?host=/nowhere", "PostgreSQL runs")]
)
def test_a_postgresql_that_cannot_be_used_says_why_and_what_to_do(postgresql: Cluster, path: str, said: str) -> None:
    with pytest.raises(AuditError, match=said):
        History.open("postgresql://upkeep@" + path.format(sockets=postgresql.sockets))
