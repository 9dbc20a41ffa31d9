"""What an execution is going to be when what is done in its end is done.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add: what was asked to stop before goes on to its end."""
    op.add_column("execution", sa.Column("ends_as", sa.Text(), nullable=True))
    op.execute(
        "UPDATE execution SET ends_as = CASE WHEN cancel_reason = 'timed_out' THEN 'timed_out' ELSE 'cancelled' END "
        "WHERE cancel_at IS NOT NULL AND finished_at IS NULL"
    )
    op.execute(
        "UPDATE segment SET stop = 1 WHERE status = 'running' AND execution_id IN "
        "(SELECT id FROM execution WHERE cancel_at IS NOT NULL AND finished_at IS NULL)"
    )
