"""Tables that are kept beside the events, in the same database: read and written without the chain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from upkeep.audit.database import trouble, writing
from upkeep.audit.history import History


class KeptBeside:
    """What such tables have in common. Every method raises AuditError when the database cannot be used."""

    def __init__(self, history: History) -> None:
        self._engine, self._url = history.database
        self._reading = history.reading

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """A session that is the database's only writer until it ends."""
        try:
            with writing(self._engine) as connection:
                session = Session(bind=connection, join_transaction_mode="control_fully")
                yield session
                session.flush()
        except SQLAlchemyError as error:
            raise trouble(self._url, error) from error
