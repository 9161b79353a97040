"""How a run goes as a whole: the page of a run that goes on asks for its approvals among all events of its hosts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_OF_NO_HOST = sa.text("host = ''")


def upgrade() -> None:
    """Make the index of events that are about no host."""
    op.create_index("ix_event_course", "event", ["run", "seq"], sqlite_where=_OF_NO_HOST, postgresql_where=_OF_NO_HOST)


def downgrade() -> None:
    """Take it away."""
    op.drop_index("ix_event_course", "event")
