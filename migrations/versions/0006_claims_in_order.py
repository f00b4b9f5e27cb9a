"""The index of claims is in the order of claims: the highest priority first, then the oldest.

With priorities ascending and ids, too, the whole queue was sorted for each claim.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _index_claims_by("priority DESC")


def downgrade() -> None:
    _index_claims_by("priority")


def _index_claims_by(priority: str) -> None:
    op.drop_index("ix_jobs_claim", table_name="jobs")
    op.create_index("ix_jobs_claim", "jobs", ["queue", "state", sa.text(priority), "id"])
