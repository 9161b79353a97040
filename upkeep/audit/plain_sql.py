"""Statements that are run for each commit, handed to the driver as they stand.

SQLAlchemy looks a statement up among its compiled ones and sets its parameters each time, which costs more than SQLite takes to run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from sqlalchemy import Connection, CursorResult, text


class PlainSql:
    """One statement with parameters like `:run`, for SQLite and PostgreSQL."""

    def __init__(self, words: str) -> None:
        self._words = words
        self._of_driver: dict[str, str] = {"sqlite": words}

    @classmethod
    def insert(cls, table: str, *columns: str) -> Self:
        """Rows put into a table, each column given as a parameter of its name."""
        values = ", ".join(f":{column}" for column in columns)
        return cls(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})")  # noqa: S608 - our own names

    def many(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> CursorResult[Any]:
        """Run it once for each row."""
        name = connection.dialect.name
        words = self._of_driver.get(name)
        if words is None:
            words = self._of_driver[name] = str(text(self._words).compile(dialect=connection.dialect))
        return connection.exec_driver_sql(words, list(rows))
