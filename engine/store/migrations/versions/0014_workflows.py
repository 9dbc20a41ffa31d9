"""Workflows that are deleted and may come back, and names for versions.

Revision ID: 0014
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add: a process of the version before goes on with the rows it knows."""
    op.add_column("workflow", sa.Column("deleted_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "workflow_deleted",
        "workflow",
        ["deleted_at"],
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_table(
        "workflow_alias",
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "name"),
        sqlite_with_rowid=False,
    )
