"""The history's database as somebody with all rights writes it."""

from __future__ import annotations

from sqlalchemy import Row, create_engine, text

from upkeep.audit.database import with_driver

_SQLITE = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
_POSTGRESQL = (
    "SELECT DISTINCT tgname, relname FROM pg_trigger JOIN pg_class ON tgrelid = pg_class.oid WHERE NOT tgisinternal"
)


class RawDatabase:
    """One connection beside the history's own."""

    def __init__(self, address: str) -> None:
        self._engine = create_engine(with_driver(address))
        self._connection = self._engine.connect()
        self.is_sqlite = self._engine.dialect.name == "sqlite"

    def execute(self, statement: str, **values: object) -> None:
        """One statement, or several with ; between them."""
        for one in statement.split(";"):
            self._connection.execute(text(one), values)

    def rows(self, statement: str) -> list[Row]:
        """All rows of a question."""
        return list(self._connection.execute(text(statement)))

    def commit(self) -> None:
        """Let others see it."""
        self._connection.commit()

    def rollback(self) -> None:
        """As if nothing had been done since the last commit."""
        self._connection.rollback()

    def drop_triggers(self) -> None:
        """Nothing is refused from here on."""
        for name, table in self.rows(_SQLITE if self.is_sqlite else _POSTGRESQL):
            self.execute(f"DROP TRIGGER {name}" + ("" if self.is_sqlite else f" ON {table}"))
        self.commit()

    def close(self) -> None:
        """Let go."""
        self._connection.close()
        self._engine.dispose()
