"""Archives: the texts of events may be taken out of the database where an archive holds them, and put back; their hashes stay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_REFUSED = "the history is append-only"
_ONLY_TEXT = """NEW.seq = OLD.seq AND NEW.hash = OLD.hash AND NEW.prev_hash = OLD.prev_hash AND (NEW.body = '' OR OLD.body = '')
AND EXISTS (SELECT 1 FROM archive WHERE OLD.seq BETWEEN archive.first_seq AND archive.upto_seq)"""

_SQLITE = (
    "DROP TRIGGER event_no_update",
    f"CREATE TRIGGER event_no_update BEFORE UPDATE ON event WHEN NOT ({_ONLY_TEXT}) BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
)
_SQLITE_BEFORE = (
    "DROP TRIGGER event_no_update",
    f"CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
)
_FUNCTION = "CREATE OR REPLACE FUNCTION event_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
_RAISE = f"RAISE EXCEPTION '{_REFUSED}'; END $$"
_POSTGRESQL = (f"{_FUNCTION} IF TG_OP = 'UPDATE' THEN IF {_ONLY_TEXT} THEN RETURN NEW; END IF; END IF; {_RAISE}",)
_POSTGRESQL_BEFORE = (f"{_FUNCTION} {_RAISE}",)


def upgrade() -> None:
    """Make both tables, and the one exception to the trigger."""
    op.create_table(
        "archive",
        sa.Column("first_seq", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("upto_seq", sa.Integer(), nullable=False),
        *(_text(name) for name in ("first_at", "last_at", "file", "sha256")),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        *(_text(name) for name in ("at", "by", "reason")),
    )
    op.create_table(
        "archived_run",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("archive", sa.Integer(), sa.ForeignKey("archive.first_seq"), nullable=False, index=True),
        *(_text(name) for name in ("runbook", "plan", "actor", "ticket", "outcome", "started_at", "ended_at")),
        sa.Column("hosts", sa.Integer(), nullable=False),
    )
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    """Everything refused again; an older Upkeep would take archived events for tampered ones."""
    kept = op.get_bind().execute(sa.text("SELECT file FROM archive ORDER BY first_seq")).scalars().all()
    if kept:
        message = f"events are archived in {', '.join(kept)}; do: upkeep history restore FILE, then try again"
        raise ValueError(message)
    for statement in _SQLITE_BEFORE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL_BEFORE:
        op.execute(statement)
    op.drop_table("archived_run")
    op.drop_table("archive")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)
