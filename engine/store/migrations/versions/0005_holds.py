"""Critical sections and limits: who holds a key or waits for it, and when a rate's key is at rest again.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add: a worker of the version before goes on with the rows it knows."""
    op.add_column("execution", sa.Column("limited", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "hold",
        sa.Column("execution_id", sa.Text(), primary_key=True),
        sa.Column("segment", sa.Integer(), primary_key=True),
        sa.Column("item", sa.Text(), primary_key=True),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("hold_queue", "hold", ["project_id", "key", "granted", "rank", "place"])
    granted = sa.text("granted = 1")
    op.create_index("hold_held", "hold", ["execution_id"], sqlite_where=granted, postgresql_where=granted)
    op.create_table(
        "rate",
        sa.Column("project_id", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("expected", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": "70"},
    )
