"""The database behind the history: opening, migrating, transactions; SQLAlchemy's errors become AuditError here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel import Session

from upkeep.errors import AuditError

BUSY_TIMEOUT_SECONDS = 30
MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x55504B45  # 'UPKE': one writer at a time over all controllers
_READERS_AT_ONCE = 64

_REMEDIES = {
    "locked": "another process holds it for long; see who with `fuser` and try again",
    "full": "free disk space",
    "readonly": "give this user the right to write, or set UPKEEP_HOME or UPKEEP_DATABASE_URL",
    "unable to open": "make the folder, or set UPKEEP_HOME or UPKEEP_DATABASE_URL",
    "not a database": "the file is something else; move it away",
    "I/O error": "look at the disk and at `dmesg`, then run `upkeep history verify`",
    "malformed": "put back a backup of the file, then run `upkeep history verify`",
    "taken away": "put the file back, or start again",
    "Can't locate revision": "the history was written by a newer Upkeep; use that one",
    "Could not parse": "write UPKEEP_DATABASE_URL like sqlite:////var/lib/upkeep/history.db",
    "in memory": "name a file, like sqlite:////var/lib/upkeep/history.db",
}


class Database:
    """A migrated database, safe for many threads and processes."""

    def __init__(self, url: str, engine: Engine) -> None:
        self.url, self.engine = url, engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._file = _file_of(engine)
        self._identity = _identity(self._file)

    @classmethod
    def open(cls, url: str) -> Database:
        """Open the database at a SQLAlchemy URL and bring its tables up to date.

        Raises:
            AuditError: the address or the database cannot be used.
        """
        try:
            engine = _engine(url)
            if _is_current(engine):
                return cls(url, engine)
            with _only_writer(engine) as connection:
                command.upgrade(alembic_config(connection), "head")
            return cls(url, engine)
        except (SQLAlchemyError, CommandError, ImportError) as error:
            raise trouble(url, error) from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is the only writer from its first statement on, durable when the block has ended.

        Raises:
            AuditError: it could not be written; nothing of it is kept.
        """
        self._check_in_place()
        try:
            with _only_writer(self.engine) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise trouble(self.url, error) from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one moment of the history.

        Raises:
            AuditError: the history cannot be read.
        """
        self._check_in_place()
        try:
            with self.engine.connect() as connection:
                if self.is_sqlite:
                    connection.exec_driver_sql("BEGIN")
                else:
                    connection.execution_options(isolation_level="REPEATABLE READ")
                with Session(bind=connection) as session:
                    yield session
        except (SQLAlchemyError, ValidationError) as error:
            raise trouble(self.url, error) from error

    def close(self) -> None:
        """End every connection."""
        self.engine.dispose()

    def _check_in_place(self) -> None:
        """SQLite goes on writing into a file that was removed, and all of it is lost."""
        if self._file is not None and _identity(self._file) != self._identity:
            raise trouble(self.url, FileNotFoundError("the file was taken away or replaced while in use"))


def alembic_config(connection: Connection) -> Config:
    """Alembic set up for the packaged migrations on one connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def trouble(url: str, error: Exception) -> AuditError:
    """What a database error means to a person."""
    cause = str(getattr(error, "orig", None) or error).splitlines()[0]
    if isinstance(error, ValidationError):
        cause = f"a stored {error.title} cannot be read"
    default = "repair the database; `upkeep history verify` shows what is wrong with the events"
    remedy = next((text for sign, text in _REMEDIES.items() if sign in cause), default)
    return AuditError(
        f"the history at {_shown(url)} cannot be used: {cause}; nothing is changed without it; do: {remedy}"
    )


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "an address that cannot be read"


@contextmanager
def _only_writer(engine: Engine) -> Iterator[Connection]:
    """A deferred transaction would lose writes under load: SQLite refuses to upgrade it without waiting."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield connection
        connection.commit()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, max_overflow=_READERS_AT_ONCE)
    if parsed.database in {None, "", ":memory:"}:
        raise ArgumentError("a history in memory is no evidence")
    engine = create_engine(
        parsed,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        max_overflow=_READERS_AT_ONCE,
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN IMMEDIATE ourselves
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _is_current(engine: Engine) -> bool:
    """Whether nothing is to be migrated; then the history can be read while another process writes, or on a full disk."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        present = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return present == ScriptDirectory.from_config(alembic_config(connection)).get_current_head()


def _file_of(engine: Engine) -> Path | None:
    name = engine.url.database
    if engine.dialect.name != "sqlite" or name is None or name.startswith("file:"):
        return None
    return Path(name).absolute()


def _identity(file: Path | None) -> tuple[int, int] | None:
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found is not None else None
