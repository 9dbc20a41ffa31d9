"""What executions answer before they end; until when a segment may wait for a worker, and what has met at a join.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add: a worker of the version before goes on with the rows it knows."""
    op.add_column("execution", sa.Column("answered_at", sa.BigInteger(), nullable=True))
    op.add_column("execution", sa.Column("answer", sa.Text(), nullable=True))
    op.add_column("execution", sa.Column("answer_blob", sa.Text(), nullable=True))
    there = sa.text("answer_blob IS NOT NULL")
    op.create_index(
        "execution_answer_blob", "execution", ["answer_blob"], sqlite_where=there, postgresql_where=there
    )
    op.add_column("segment", sa.Column("expires", sa.BigInteger(), nullable=True))
    op.add_column("segment", sa.Column("joined", sa.Text(), nullable=True))
    expiring = sa.text("status = 'ready' AND expires IS NOT NULL")
    op.create_index(
        "segment_expiring", "segment", ["expires"], sqlite_where=expiring, postgresql_where=expiring
    )
