"""Tries and findings are looked up by host: without an index every step of a large run reads all steps of all hosts."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both indexes."""
    op.create_index("ix_step_attempt_try", "step_attempt", ["run", "host", "step"])
    op.create_index("ix_finding_host", "finding", ["run", "host", "phase"])


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_finding_host", "finding")
    op.drop_index("ix_step_attempt_try", "step_attempt")
