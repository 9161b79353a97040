"""Alembic migrations, run by `upkeep.audit.migrate`; nobody needs an alembic.ini."""
