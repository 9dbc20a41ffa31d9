"""Containers count their instances, and a part of an execution can be told to stop.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add: a worker of the version before goes on with the rows it knows."""
    op.add_column("segment", sa.Column("fan", sa.Text(), nullable=True))
    op.add_column("segment", sa.Column("stop", sa.Integer(), server_default="0", nullable=False))
    if op.get_bind().dialect.name == "postgresql":
        # Items are paths, read by ranges: bytes decide, whatever language the database sorts in.
        op.execute('ALTER TABLE journal ALTER COLUMN item TYPE text COLLATE "C"')
