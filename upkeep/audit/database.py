"""Opening and migrating the database behind the history; SQLAlchemy's errors become AuditError here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from upkeep.errors import AuditError

BUSY_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 10
_WITHOUT_DRIVER = {"postgres", "postgresql"}
_ADVISORY_LOCK = 0x55504B45  # 'UPKE': one writer at a time over all controllers
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-16384",
    "wal_autocheckpoint=4096",
)
"""16 MiB each: hashes land anywhere in their indexes, and what is written again and again reaches the file once."""
MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(url: str) -> Engine:
    """An engine on a migrated database.

    Raises:
        AuditError: the address or the database cannot be used.
    """
    try:
        engine = _engine(url)
        with writing(engine) as connection:
            _migrate(connection)
    except (SQLAlchemyError, ArgumentError, ValueError, ImportError) as error:
        raise trouble(url, error) from error
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is the only writer from its first statement on; a deferred one would lose writes under load."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield connection
        connection.commit()


def trouble(url: str, error: Exception) -> AuditError:
    """What a database error means to a person."""
    shown = shown_address(url)
    cause = str(getattr(error, "orig", None) or error).splitlines()[0]
    remedies = {
        "lock timeout": "another process writes for long; see who with pg_stat_activity and try again",
        "password": "correct user and password in UPKEEP_DATABASE_URL",
        "does not exist": "create the database and its user, or correct UPKEEP_DATABASE_URL",
        "permission denied": "give the database's user the right to create tables (owner of the database)",
        "connection": "see that PostgreSQL runs and is reachable under UPKEEP_DATABASE_URL",
        "locked": "another process holds it for long; see who with `fuser` and try again",
        "full": "free disk space",
        "readonly": "give this user the right to write, or set UPKEEP_HOME or UPKEEP_DATABASE_URL",
        "unable to open": "make the folder, or set UPKEEP_HOME or UPKEEP_DATABASE_URL",
        "not a database": "the file is something else; move it away",
        "Can't locate revision": "the history was written by a newer Upkeep; use that one",
    }
    remedy = next((text for sign, text in remedies.items() if sign in cause), "repair the database")
    return AuditError(f"the history at {shown} cannot be used: {cause}; nothing is changed without it; do: {remedy}")


def shown_address(url: str) -> str:
    """The address without its password."""
    return url if url.startswith("sqlite") else make_url(url).render_as_string(hide_password=True)


def _engine(url: str) -> Engine:
    if not make_url(url).drivername.startswith("sqlite"):
        return _postgresql(url)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we say BEGIN IMMEDIATE ourselves
        for pragma in _PRAGMAS:
            connection.cursor().execute(f"PRAGMA {pragma}")

    return engine


def with_driver(url: str) -> URL:
    """The address with the driver that is installed, where it names none."""
    address = make_url(url)
    return address.set(drivername="postgresql+psycopg") if address.drivername in _WITHOUT_DRIVER else address


def _postgresql(url: str) -> Engine:
    # READ COMMITTED whatever the server's default: what a writer reads after it got the lock must be the newest
    address = with_driver(url)
    wait = {} if "connect_timeout" in address.query else {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
    engine = create_engine(address, pool_pre_ping=True, isolation_level="READ COMMITTED", connect_args=wait)

    @event.listens_for(engine, "connect")
    def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.cursor().execute(f"SET lock_timeout = '{BUSY_TIMEOUT_SECONDS}s'")
        connection.commit()

    return engine


def _migrate(connection: Connection) -> None:
    tables = connection.dialect.get_table_names(connection)
    present = (
        connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if "alembic_version" in tables
        else None
    )
    if present != newest_version():
        from upkeep.audit.migrating import bring_up_to_date  # noqa: PLC0415 - most starts need no migration

        bring_up_to_date(connection, MIGRATIONS)


def newest_version() -> str:
    """The version of the tables as this program knows them."""
    return max(path.name[1:5] for path in (MIGRATIONS / "versions").glob("v[0-9]*_*.py"))
