"""What change tickets sent, kept until judged, and what is to be sent out, kept until it went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), primary_key=True),
        *(_text(name) for name in ("source", "delivery", "ticket", "body_sha256", "received_at", "state", "reason")),
        *(_text(name) for name in ("plan_hash", "flow_run_id", "next_at")),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("held_until", sa.String(), nullable=True),
        sa.Column("judged_at", sa.String(), nullable=True),
        sa.UniqueConstraint("source", "delivery"),
    )
    op.create_index("ix_delivery_ticket", "delivery", ["ticket"])
    op.create_index("ix_delivery_due", "delivery", ["state", "next_at"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False, unique=True),
        *(_text(name) for name in ("target", "body", "put_at", "next_at", "last_error")),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("held_until", sa.String(), nullable=True),
        sa.Column("sent_at", sa.String(), nullable=True),
        sa.Column("given_up_at", sa.String(), nullable=True),
    )
    op.create_index("ix_outbox_due", "outbox", ["sent_at", "next_at"])


def downgrade() -> None:
    """Take them away."""
    op.drop_table("outbox")
    op.drop_table("delivery")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)
