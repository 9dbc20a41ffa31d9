"""A SQLite file in the folder that the deployment has set aside for the files of workflows."""

from __future__ import annotations

from pydantic import BaseModel, Field

from celeriac import Link, connection
from nodes.databases.parameters import Statement
from nodes.databases.session import session


class Sqlite(BaseModel, extra="forbid"):
    """Which file."""

    path: str = Field(description="The file, inside the folder CELERIAC_FILES.", min_length=1)
    create: bool = Field(default=False, description="Whether to make it when it is not there.")


@connection("sqlite", hosts=lambda _: [])
async def sqlite(fields: Sqlite, link: Link) -> str:
    """A SQLite file on the worker's machine."""
    async with session(link, read_only=not fields.create, seconds=10.0) as opened:
        found = await opened.run(Statement.parse("SELECT count(*) FROM sqlite_master"), [{}], 1)
    return f"{fields.path} has {found.rows[0][0]} tables and indexes."
