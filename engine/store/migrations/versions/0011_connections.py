"""Connections: when one was used last, and what its last test came to.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add: a worker of the version before goes on with the columns it knows."""
    for name, kind in (
        ("last_used_at", sa.BigInteger()),
        ("tested_at", sa.BigInteger()),
        ("failure", sa.Text()),
    ):
        op.add_column("connection", sa.Column(name, kind, nullable=True))
