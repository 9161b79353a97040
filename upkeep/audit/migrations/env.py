"""Alembic's entry: works on the connection that `upkeep.audit.migrate` hands over."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from upkeep.audit import tables  # noqa: F401 - fills the metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata, render_as_batch=True
)
context.run_migrations()
