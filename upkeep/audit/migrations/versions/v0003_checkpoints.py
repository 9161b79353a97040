"""Signed checkpoints: never changed or removed; only where their copy lies is written later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_REFUSED = "checkpoints are append-only"
_SIGNED = "id, upto_seq, head_hash, n, hashes_sha256, at, key_id, prev_sig, sig"

_SQLITE = (
    f"CREATE TRIGGER checkpoint_no_update BEFORE UPDATE OF {_SIGNED} ON checkpoint BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
    f"CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
    (
        "CREATE TRIGGER checkpoint_no_replace BEFORE INSERT ON checkpoint "  # noqa: S608 - nothing in it comes from outside
        "WHEN EXISTS (SELECT 1 FROM checkpoint WHERE id = NEW.id OR prev_sig = NEW.prev_sig OR sig = NEW.sig) "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    ),
)

_POSTGRESQL = (
    f"CREATE FUNCTION checkpoint_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$",
    f"CREATE TRIGGER checkpoint_no_update BEFORE UPDATE OF {_SIGNED} ON checkpoint FOR EACH ROW EXECUTE FUNCTION checkpoint_refuse()",
    "CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint FOR EACH ROW EXECUTE FUNCTION checkpoint_refuse()",
    "CREATE TRIGGER checkpoint_no_truncate BEFORE TRUNCATE ON checkpoint FOR EACH STATEMENT EXECUTE FUNCTION checkpoint_refuse()",
)


def upgrade() -> None:
    """Make the table and its triggers."""
    op.create_table(
        "checkpoint",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("upto_seq", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        *(_text(name) for name in ("head_hash", "hashes_sha256", "at", "key_id")),
        sa.Column("prev_sig", sa.String(), nullable=False, unique=True),
        sa.Column("sig", sa.String(), nullable=False, unique=True),
        _text("exported_to"),
    )
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    """Remove it."""
    op.drop_table("checkpoint")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION checkpoint_refuse()")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)
