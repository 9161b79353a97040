"""Runs spread over several workers: the flow runs that work on one, and the orders they take from it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "shard",
        sa.Column("id", sa.Integer(), primary_key=True),
        *(_text(name) for name in ("run", "process", "started_at")),
        *(_text(name, nullable=True) for name in ("seen_at", "ended_at")),
    )
    op.create_index("ix_shard_run", "shard", ["run"])
    op.create_table(
        "shard_order",
        sa.Column("id", sa.Integer(), primary_key=True),
        *(_text(name) for name in ("run", "kind", "host")),
        sa.Column("lane", sa.Integer(), nullable=False),
        *(_text(name) for name in ("body", "put_at")),
        sa.Column("shard", sa.Integer(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        _text("held_until", nullable=True),
        _text("answer"),
        *(_text(name, nullable=True) for name in ("answered_at", "collected_at")),
    )
    op.create_index("ix_shard_order_open", "shard_order", ["run", "answered_at"])


def downgrade() -> None:
    """Take them away."""
    op.drop_table("shard_order")
    op.drop_table("shard")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)
