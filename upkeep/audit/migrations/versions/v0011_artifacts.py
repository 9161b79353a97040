"""Archives of releases and how they reached hosts, told from the events; `upkeep history rebuild` fills in what older runs say."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "artifact",
        sa.Column("id", sa.Integer(), primary_key=True),
        _run(),
        *(_text(name) for name in ("product", "version", "os", "arch", "libc", "url", "sha256")),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "artifact_delivery",
        sa.Column("id", sa.Integer(), primary_key=True),
        _run(),
        *(_text(name) for name in ("host", "sha256", "way", "instead_of", "at", "happening")),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
    )
    op.create_index("ix_artifact_run", "artifact", ["run"])
    op.create_index("ix_artifact_delivery_host", "artifact_delivery", ["run", "host"])


def downgrade() -> None:
    """Remove both."""
    op.drop_table("artifact_delivery")
    op.drop_table("artifact")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)


def _run() -> sa.Column[str]:
    return sa.Column("run", sa.String(), sa.ForeignKey("run.id"), nullable=False)
