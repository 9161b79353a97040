"""The first schema: events with their triggers, and the read models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_REFUSED = "the history is append-only"

# INSERT OR REPLACE runs neither the trigger on UPDATE nor the one on DELETE
_NO_REPLACE = f"""
CREATE TRIGGER event_no_replace BEFORE INSERT ON event
WHEN EXISTS (SELECT 1 FROM event WHERE seq = NEW.seq OR hash = NEW.hash OR prev_hash = NEW.prev_hash)
BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END
"""  # noqa: S608 - nothing in it comes from outside

_SQLITE = (
    f"CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
    f"CREATE TRIGGER event_no_delete BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
    _NO_REPLACE,
)

_POSTGRESQL = (
    f"CREATE FUNCTION event_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$",
    "CREATE TRIGGER event_no_change BEFORE UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION event_refuse()",
    "CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON event FOR EACH STATEMENT EXECUTE FUNCTION event_refuse()",
)


def upgrade() -> None:
    """Make the tables and the triggers that keep events as they are."""
    op.create_table(
        "event",
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
        _text("at"),
        _text("run"),
        _text("action"),
        _text("host"),
        _text("body"),
        sa.Column("prev_hash", sa.String(), nullable=False, unique=True),
        sa.Column("hash", sa.String(), nullable=False, unique=True),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.String(), primary_key=True),
        *(
            _text(name)
            for name in (
                "runbook",
                "actor",
                "source",
                "reason",
                "ticket",
                "plan",
                "plan_hash",
                "of_run",
                "record",
                "process",
            )
        ),
        _text("started_at"),
        _text("ended_at", nullable=True),
        _text("outcome", nullable=True),
        _text("outcome_reason"),
        _text("stop_requested", nullable=True),
    )
    _make_parts_of_runs()
    op.create_table(
        "release_seen",
        sa.Column("channel", sa.String(), primary_key=True),
        sa.Column("key_id", sa.String(), primary_key=True),
        sa.Column("release_seq", sa.Integer(), nullable=False),
        _text("run"),
    )
    for table, column in _INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    """Remove everything."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP TRIGGER event_no_change ON event")
        op.execute("DROP TRIGGER event_no_truncate ON event")
        op.execute("DROP FUNCTION event_refuse()")
    for table in ("release_seen", "backup", "finding", "step_attempt", "run_host", "run_stage", "run", "event"):
        op.drop_table(table)


_INDEXES = (
    ("event", "run"),
    ("event", "host"),
    ("run", "started_at"),
    ("run_stage", "run"),
    ("run_host", "host"),
    ("step_attempt", "run"),
    ("finding", "run"),
    ("backup", "run"),
    ("backup", "host"),
)


def _make_parts_of_runs() -> None:
    op.create_table(
        "run_stage",
        sa.Column("id", sa.Integer(), primary_key=True),
        _run(),
        *(_text(name) for name in ("name", "hosts", "opened_at")),
        _text("closed_at", nullable=True),
        _text("verdict", nullable=True),
        _text("reason"),
        sa.UniqueConstraint("run", "name"),
    )
    op.create_table(
        "run_host",
        sa.Column("run", sa.String(), sa.ForeignKey("run.id"), primary_key=True),
        sa.Column("host", sa.String(), primary_key=True),
        _text("stage"),
        _text("current_step"),
        *(_text(name, nullable=True) for name in ("outcome", "failure_class", "from_version", "to_version")),
        _text("reason"),
        _text("remedy"),
    )
    op.create_table(
        "step_attempt",
        sa.Column("id", sa.Integer(), primary_key=True),
        _run(),
        _text("host"),
        _text("step"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        _text("intent_at"),
        _text("ended_at", nullable=True),
        *(_text(name) for name in ("happening", "reason", "body")),
    )
    op.create_table(
        "finding",
        sa.Column("id", sa.Integer(), primary_key=True),
        _run(),
        *(_text(name) for name in ("host", "phase", "at", "verdict", "finding")),
    )
    op.create_table(
        "backup",
        sa.Column("id", sa.Integer(), primary_key=True),
        _run(),
        _text("host"),
        _text("path"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        _text("sha256"),
        sa.Column("files", sa.Integer(), nullable=False),
        _text("taken_at"),
        sa.Column("verified", sa.Boolean(), nullable=False),
    )


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _run() -> sa.Column[str]:
    return sa.Column("run", sa.String(), sa.ForeignKey("run.id"), nullable=False)
