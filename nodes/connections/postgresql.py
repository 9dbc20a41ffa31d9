"""A PostgreSQL database."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, SecretStr

from celeriac import Link, connection
from nodes.databases.parameters import Statement
from nodes.databases.session import session


class Postgresql(BaseModel, extra="forbid"):
    """Where the database is, and who works with it."""

    host: str = Field(description="The server's name.", min_length=1)
    port: int = Field(5432, description="Its port.", ge=1, le=65535)
    database: str = Field(description="The database's name.", min_length=1)
    username: str = Field(description="Who signs in.", min_length=1)
    password: SecretStr | None = Field(None, description="The password.", min_length=1)
    tls: Literal["verify", "require", "none"] = Field(
        "verify",
        description="verify checks the server's certificate; require only encrypts; none does neither.",
    )
    ca: str | None = Field(None, description="Certificates (PEM) to trust, for a server of one's own.")


def hosts(fields: Postgresql) -> list[str]:
    """Return the one place."""
    host = f"[{fields.host}]" if ":" in fields.host else fields.host
    return [f"{host}:{fields.port}"]


@connection("postgresql", hosts=hosts)
async def postgresql(fields: Postgresql, link: Link) -> str:
    """A PostgreSQL database."""
    async with session(link, read_only=True, seconds=10.0) as opened:
        found = await opened.run(Statement.parse("SHOW server_version"), [{}], 1)
    return f"{fields.host} is PostgreSQL {found.rows[0][0]}."
