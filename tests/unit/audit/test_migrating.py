"""A history of any older version goes up with its data whole, also when several controllers open it at once (issue 6: 6; fault 57; D6)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from tests.unit.audit.raw_database import RawDatabase
from tests.unit.audit.test_archiving import LEASE
from tests.unit.audit.test_rebuilding import told
from upkeep.audit.database import with_driver, writing
from upkeep.audit.history import History
from upkeep.audit.rebuilding import rebuild

AT_ONCE = 3


def down_to(address: str, version: str) -> None:
    """What an administrator does who goes back to an older Upkeep."""
    config = Config()
    config.set_main_option("script_location", "upkeep:audit/migrations")
    engine = create_engine(with_driver(address))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, version)
        connection.commit()
    engine.dispose()


def refused(raw: RawDatabase, statement: str) -> bool:
    try:
        raw.execute(statement)
    except DBAPIError:
        return True
    finally:
        raw.rollback()
    return False


@pytest.mark.parametrize("version", ["0001", "0004", "0008", "0011"])
def test_events_and_runs_of_an_older_version_are_the_same_after_several_controllers_opened_it_at_once(
    history: History, address: str, version: str
) -> None:
    before = told(history)
    events, run = before.events("r1"), before.run("r1").model_dump_json(exclude=LEASE)
    history.close()
    down_to(address, version)
    together = Barrier(AT_ONCE)

    def opened(_: int) -> History:
        together.wait()
        return History.open(address)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        controllers = list(threads.map(opened, range(AT_ONCE)))
    for number, one in enumerate(controllers):
        one.record("r1", "note", reason=f"controller {number}")
    first = controllers[0]
    assert first.events("r1")[: len(events)] == events
    assert first.verify().ok
    rebuild(first)
    assert all(model.same for model in rebuild(first))
    assert first.run("r1").model_dump_json(exclude=LEASE) == run
    for one in controllers:
        one.close()


@pytest.mark.parametrize("version", ["0001", "0009"])
def test_on_the_way_down_and_up_the_database_goes_on_refusing_changes_of_events(
    history: History, address: str, raw: RawDatabase, version: str
) -> None:
    told(history).close()
    for step in (lambda: down_to(address, version), lambda: History.open(address).close()):
        step()
        assert refused(raw, "UPDATE event SET body = 'x' WHERE seq = 2")
        assert refused(raw, "DELETE FROM event WHERE seq = 2")


def test_a_migration_that_breaks_off_leaves_the_version_before_it_with_everything_in_it(
    history: History, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = told(history).events("r1")
    history.close()
    down_to(address, "0003")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sqlalchemy.engine.base.Connection.commit", killed)
        with pytest.raises(KeyboardInterrupt):
            History.open(address)
    engine = create_engine(with_driver(address))
    with writing(engine) as connection:
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    engine.dispose()
    assert version == "0003"
    again = History.open(address)
    assert (again.events("r1"), again.verify().ok) == (events, True)
    again.close()
