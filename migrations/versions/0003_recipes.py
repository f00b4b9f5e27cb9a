"""Recipes (what decides a job's results, whose results it has taken over), and sets of experts.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.add_column(
            sa.Column("reuse", sa.Boolean(), server_default=sa.true(), nullable=False)
        )
        batch_op.add_column(sa.Column("recipe", sa.String(length=64)))
        batch_op.add_column(sa.Column("recipe_ids", sa.JSON(none_as_null=True)))
        batch_op.add_column(sa.Column("reused_from", sa.String(length=40)))
        batch_op.create_index("ix_jobs_owner_id_recipe", ["owner_id", "recipe"], unique=False)
    op.create_table(
        "expert_sets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner_id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("n_experts", sa.Integer(), nullable=False),
        sa.Column("details", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_expert_sets_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_expert_sets")),
    )
    with op.batch_alter_table("expert_sets") as batch_op:
        batch_op.create_index(op.f("ix_expert_sets_job_id"), ["job_id"], unique=False)
    with op.batch_alter_table("distilled_sets") as batch_op:
        batch_op.add_column(sa.Column("expert_set_id", sa.String(length=40)))
        batch_op.create_foreign_key(
            op.f("fk_distilled_sets_expert_set_id_expert_sets"),
            "expert_sets",
            ["expert_set_id"],
            ["id"],
            ondelete="SET NULL",
        )
        batch_op.create_index(
            op.f("ix_distilled_sets_expert_set_id"), ["expert_set_id"], unique=False
        )


def downgrade() -> None:
    """Back, without sets of experts; what the old schema cannot run has to have ended."""
    unended = sa.text(
        "SELECT id FROM jobs WHERE kind = 'experts' "
        "AND state NOT IN ('succeeded', 'failed', 'cancelled', 'expired')"
    )
    job_id = op.get_bind().execute(unended).scalars().first()
    if job_id is not None:
        raise RuntimeError(f"job {job_id} of kind experts has not ended: cancel it first")
    with op.batch_alter_table("distilled_sets") as batch_op:
        batch_op.drop_index(op.f("ix_distilled_sets_expert_set_id"))
        batch_op.drop_constraint(
            op.f("fk_distilled_sets_expert_set_id_expert_sets"), type_="foreignkey"
        )
        batch_op.drop_column("expert_set_id")
    op.drop_table("expert_sets")
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.drop_index("ix_jobs_owner_id_recipe")
        for column in ("reused_from", "recipe_ids", "recipe", "reuse"):
            batch_op.drop_column(column)
