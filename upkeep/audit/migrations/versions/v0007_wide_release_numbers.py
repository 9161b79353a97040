"""A release sequence made of a date and a count is more than PostgreSQL's plain integer holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Hold 64 bits."""
    with op.batch_alter_table("release_seen") as seen:
        seen.alter_column("release_seq", existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False)


def downgrade() -> None:
    """Nothing: the wide column holds all that the narrow one did, and what is in it by now may need it."""
