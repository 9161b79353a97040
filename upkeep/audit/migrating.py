"""Bringing a database to the newest tables. Importing Alembic costs a quarter of a second, so only this module does, when it is needed."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection


def bring_up_to_date(connection: Connection, migrations: Path) -> None:
    """Run what is missing, in the transaction of `connection`.

    Raises:
        ValueError: the database is of a version that is not known here.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ValueError(str(error)) from error
