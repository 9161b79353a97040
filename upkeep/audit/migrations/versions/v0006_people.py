"""People with roles: who may approve, reject and administer; of their tokens only the hash is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "person",
        sa.Column("name", sa.String(), primary_key=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("roles", "logins", "added_at")),
        sa.Column("token_sha256", sa.String(), nullable=False, unique=True),
        sa.Column("revoked_at", sa.String(), nullable=True),
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("person")
