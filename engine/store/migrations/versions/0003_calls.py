"""Executions call others: how deep they stand, whom they have told, and what a segment waits for.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UNTOLD = sa.text("told = 0 AND finished_at IS NOT NULL")
_FORSAKEN = sa.text("status = 'cancelled' AND child IS NOT NULL")


def upgrade() -> None:
    """Only add: a worker of the version before goes on with the rows it knows."""
    op.add_column("workflow", sa.Column("hidden", sa.Integer(), server_default="0", nullable=False))
    op.add_column("execution", sa.Column("depth", sa.Integer(), server_default="0", nullable=False))
    op.add_column("execution", sa.Column("told", sa.Integer(), server_default="1", nullable=False))
    op.add_column("segment", sa.Column("child", sa.Text(), nullable=True))
    op.create_index(
        "execution_untold", "execution", ["finished_at"], sqlite_where=_UNTOLD, postgresql_where=_UNTOLD
    )
    op.create_index(
        "segment_forsaken", "segment", ["child"], sqlite_where=_FORSAKEN, postgresql_where=_FORSAKEN
    )
