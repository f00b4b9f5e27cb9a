"""Uploaded logits: an upload says what it holds, and a calibration may be of no model made here.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Every table whose rows belong to a job; foreign keys are off on SQLite, so none follows by itself.
OF_A_JOB = ("artifacts", "reports", "calibrations", "events", "attempts", "job_deps", "datasets")


def upgrade() -> None:
    with op.batch_alter_table("datasets") as batch_op:
        batch_op.add_column(
            sa.Column("content", sa.String(length=20), server_default="images", nullable=False)
        )
        batch_op.create_check_constraint(
            op.f("ck_datasets_content"), "content IN ('images', 'logits')"
        )
    with op.batch_alter_table("calibrations") as batch_op:
        batch_op.alter_column("model_id", existing_type=sa.String(length=40), nullable=True)


def downgrade() -> None:
    """Back, without what the old schema has no place for: logits, and the jobs on them."""
    _delete_logits()
    with op.batch_alter_table("calibrations") as batch_op:
        batch_op.alter_column("model_id", existing_type=sa.String(length=40), nullable=False)
    with op.batch_alter_table("datasets") as batch_op:
        batch_op.drop_constraint(op.f("ck_datasets_content"), type_="check")
        batch_op.drop_column("content")


def _delete_logits() -> None:
    connection = op.get_bind()
    job_ids = connection.execute(
        sa.text(
            "SELECT job_id FROM datasets WHERE content = 'logits' "
            "UNION SELECT job_id FROM calibrations WHERE model_id IS NULL "
            "UNION SELECT jobs.id FROM jobs JOIN datasets ON datasets.name = jobs.dataset "
            "AND datasets.owner_id = jobs.owner_id "
            "WHERE jobs.kind = 'calibrate' AND datasets.content = 'logits'"
        )
    ).scalars()
    for job_id in sorted(job_ids):
        connection.execute(sa.text("DELETE FROM job_deps WHERE needs_job_id = :id"), {"id": job_id})
        connection.execute(
            sa.text(
                "DELETE FROM report_calibrations WHERE report_id IN "
                "(SELECT id FROM reports WHERE job_id = :id) OR calibration_id IN "
                "(SELECT id FROM calibrations WHERE job_id = :id)"
            ),
            {"id": job_id},
        )
        for table in OF_A_JOB:
            rows = sa.table(table, sa.column("job_id"))
            connection.execute(sa.delete(rows).where(rows.c.job_id == job_id))
        connection.execute(sa.text("DELETE FROM jobs WHERE id = :id"), {"id": job_id})
