"""Studies: jobs that own many others, may end `partial`, and wait for jobs however these end.

A job may also go back from running to blocked, to wait for another that computes the same.

Revision ID: 0008
Revises: 0007
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

Moves = Mapping[str, Sequence[str]]

# The picture of app/shared/engine/jobs.py as it is at this revision, and as it was before.
MOVES_BEFORE: Moves = {
    "scheduled": ("queued", "cancelled", "expired"),
    "blocked": ("scheduled", "queued", "cancelling", "succeeded", "failed", "cancelled", "expired"),
    "queued": ("running", "cancelled", "expired"),
    "running": ("queued", "cancelling", "succeeded", "failed"),
    "cancelling": ("failed", "cancelled"),
}
MOVES: Moves = {
    **MOVES_BEFORE,
    "blocked": (*MOVES_BEFORE["blocked"], "partial"),
    "running": (*MOVES_BEFORE["running"], "blocked"),
}
STATES_BEFORE = (
    "scheduled", "blocked", "queued", "running", "cancelling", "succeeded", "failed", "cancelled",
    "expired", "pausing", "paused",
)  # fmt: skip
STATES = (*STATES_BEFORE[:6], "partial", *STATES_BEFORE[6:])
ENDS_BEFORE = ("succeeded", "failed", "cancelled", "expired")
ENDS = ("succeeded", "partial", "failed", "cancelled", "expired")


def upgrade() -> None:
    _allow_every_move()
    _check_jobs(STATES, ENDS, composite=("pipeline", "study"))
    _refuse_other_moves(MOVES)
    op.create_index("ix_jobs_parent_id_state", "jobs", ["parent_id", "state"])
    op.drop_index("ix_jobs_parent_id", table_name="jobs")
    op.add_column(
        "job_deps", sa.Column("is_soft", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    """Back, where there is no study: an older service could neither show nor end one."""
    studies = sa.text("SELECT id FROM jobs WHERE kind = 'study' LIMIT 1")
    found = op.get_bind().execute(studies).scalar_one_or_none()
    if found is not None:
        raise RuntimeError(f"there are studies, such as {found}: delete them first")
    op.drop_column("job_deps", "is_soft")
    op.create_index("ix_jobs_parent_id", "jobs", ["parent_id"])
    op.drop_index("ix_jobs_parent_id_state", table_name="jobs")
    _allow_every_move()
    _check_jobs(STATES_BEFORE, ENDS_BEFORE, composite=("pipeline",))
    _refuse_other_moves(MOVES_BEFORE)


def _check_jobs(states: Sequence[str], ends: Sequence[str], *, composite: Sequence[str]) -> None:
    """Make the constraints of jobs anew; on SQLite this copies the table, and loses its trigger."""
    is_composite = _one_of("kind", composite)
    checks = {
        "state": _one_of("state", states),
        "ended": f"({_one_of('state', ends)}) = (ended_at IS NOT NULL)",
        "leased": (
            f"state NOT IN ('running', 'cancelling') OR {is_composite} "
            "OR lease_until_at IS NOT NULL"
        ),
        "composite": (f"NOT ({is_composite}) OR state NOT IN ('queued', 'running', 'pausing')"),
    }
    with op.batch_alter_table("jobs") as batch_op:
        for name, check in checks.items():
            batch_op.drop_constraint(op.f(f"ck_jobs_{name}"), type_="check")
            batch_op.create_check_constraint(op.f(f"ck_jobs_{name}"), sa.text(check))
    # The copy on SQLite has forgotten the order in its index.
    op.drop_index("ix_jobs_claim", table_name="jobs")
    in_order = ["queue", "state", sa.text("priority DESC"), "id"]
    op.create_index("ix_jobs_claim", "jobs", in_order)


def _one_of(column: str, values: Sequence[str]) -> str:
    return f"{column} IN ({', '.join(map(repr, values))})"


def _refuse_other_moves(moves: Moves) -> None:
    pairs = " OR ".join(
        f"(OLD.state = '{source}' AND NEW.state IN ({', '.join(map(repr, targets))}))"
        for source, targets in moves.items()
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER jobs_state BEFORE UPDATE OF state ON jobs "
            f"WHEN OLD.state <> NEW.state AND NOT ({pairs}) "
            "BEGIN SELECT RAISE(ABORT, 'check: a job makes no such move'); END"
        )
        return
    op.execute(
        "CREATE TRIGGER jobs_state BEFORE UPDATE OF state ON jobs FOR EACH ROW "
        f"WHEN (OLD.state <> NEW.state AND NOT ({pairs})) EXECUTE FUNCTION refuse_job_move()"
    )


def _allow_every_move() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute("DROP TRIGGER jobs_state" if is_sqlite else "DROP TRIGGER jobs_state ON jobs")
