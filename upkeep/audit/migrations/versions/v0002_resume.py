"""What a run needs to be taken up again: its flow run at the Prefect server, and until when its controller vouches for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns to the runs."""
    with op.batch_alter_table("run") as run:
        run.add_column(sa.Column("flow_run_id", sa.String(), nullable=False, server_default=""))
        run.add_column(sa.Column("lease_until", sa.String(), nullable=True))
    op.create_index("ix_run_flow_run_id", "run", ["flow_run_id"])


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_run_flow_run_id", "run")
    with op.batch_alter_table("run") as run:
        run.drop_column("lease_until")
        run.drop_column("flow_run_id")
