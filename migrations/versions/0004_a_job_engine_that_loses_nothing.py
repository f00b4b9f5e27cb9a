"""Keys of idempotent requests, retries, stalls; and the database refuses what no job may do.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The picture of app/shared/engine/jobs.py as it is at this revision.
MOVES = {
    "scheduled": ("queued", "cancelled", "expired"),
    "blocked": ("scheduled", "queued", "cancelling", "succeeded", "failed", "cancelled", "expired"),
    "queued": ("running", "cancelled", "expired"),
    "running": ("queued", "cancelling", "succeeded", "failed"),
    "cancelling": ("failed", "cancelled"),
}


def upgrade() -> None:
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.add_column(sa.Column("stall_seconds", sa.Integer()))
        batch_op.add_column(sa.Column("retry_of", sa.String(length=40)))
        batch_op.add_column(sa.Column("request_id", sa.String(length=64)))
        batch_op.create_index(
            "ix_jobs_expires_at",
            ["expires_at"],
            unique=False,
            sqlite_where=sa.text("expires_at IS NOT NULL"),
            postgresql_where=sa.text("expires_at IS NOT NULL"),
        )
    with op.batch_alter_table("attempts") as batch_op:
        batch_op.add_column(sa.Column("cpu_seconds", sa.Double()))
        batch_op.add_column(sa.Column("resumed_from_step", sa.Integer()))
    op.create_table(
        "idempotency_keys",
        sa.Column("owner_id", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.String(length=40)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "path", "key", name=op.f("pk_idempotency_keys")),
    )
    with op.batch_alter_table("idempotency_keys") as batch_op:
        batch_op.create_index(op.f("ix_idempotency_keys_created_at"), ["created_at"], unique=False)
    _refuse_other_moves()


def downgrade() -> None:
    """Back, without the keys: a request sent again is a new one."""
    _allow_every_move()
    op.drop_table("idempotency_keys")
    with op.batch_alter_table("attempts") as batch_op:
        batch_op.drop_column("resumed_from_step")
        batch_op.drop_column("cpu_seconds")
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.drop_index("ix_jobs_expires_at")
        for column in ("request_id", "retry_of", "stall_seconds"):
            batch_op.drop_column(column)


def _refuse_other_moves() -> None:
    """A trigger on each database; a later batch migration of jobs on SQLite has to remake it."""
    pairs = " OR ".join(
        f"(OLD.state = '{source}' AND NEW.state IN ({', '.join(map(repr, targets))}))"
        for source, targets in MOVES.items()
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER jobs_state BEFORE UPDATE OF state ON jobs "
            f"WHEN OLD.state <> NEW.state AND NOT ({pairs}) "
            "BEGIN SELECT RAISE(ABORT, 'check: a job makes no such move'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION refuse_job_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'check: a job makes no such move: % to %', OLD.state, NEW.state; "
        "END $$"
    )
    op.execute(
        "CREATE TRIGGER jobs_state BEFORE UPDATE OF state ON jobs FOR EACH ROW "
        f"WHEN (OLD.state <> NEW.state AND NOT ({pairs})) EXECUTE FUNCTION refuse_job_move()"
    )


def _allow_every_move() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER jobs_state")
        return
    op.execute("DROP TRIGGER jobs_state ON jobs")
    op.execute("DROP FUNCTION refuse_job_move()")
