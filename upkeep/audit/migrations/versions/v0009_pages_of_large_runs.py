"""Pages of runs with thousands of hosts: what they count has indexes that hold it; those that nothing reads go, they cost each write."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make what pages read, drop what is the beginning of another index or read by nobody."""
    for name, table, _ in _BEFORE:
        op.drop_index(name, table)
    op.create_index("ix_event_run", "event", ["run", "seq"])
    op.create_index("ix_step_attempt_try", "step_attempt", ["run", "host", "step", "attempt", "happening"])
    for name, table, columns, where in _PARTIAL:
        condition = sa.text(where)
        op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    """The indexes of before."""
    for name, table, *_ in (("ix_event_run", "event"), ("ix_step_attempt_try", "step_attempt"), *_PARTIAL):
        op.drop_index(name, table)
    for name, table, columns in _BEFORE:
        op.create_index(name, table, columns)


_BEFORE = (
    ("ix_event_run", "event", ["run"]),
    ("ix_event_host", "event", ["host"]),
    ("ix_step_attempt_run", "step_attempt", ["run"]),
    ("ix_step_attempt_try", "step_attempt", ["run", "host", "step"]),
    ("ix_finding_run", "finding", ["run"]),
)
_PARTIAL = (
    ("ix_event_missed", "event", ["run"], "action = 'run.missed'"),
    ("ix_step_attempt_again", "step_attempt", ["run", "host", "step", "attempt"], "attempt > 1"),
    ("ix_finding_objection", "finding", ["run", "verdict"], "verdict <> 'pass'"),
)
