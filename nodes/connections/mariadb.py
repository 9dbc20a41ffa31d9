"""A MariaDB or MySQL database."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, SecretStr

from celeriac import Link, connection
from nodes.databases.parameters import Statement
from nodes.databases.session import session


class Mariadb(BaseModel, extra="forbid"):
    """Where the database is, and who works with it."""

    host: str = Field(description="The server's name.", min_length=1)
    port: int = Field(3306, description="Its port.", ge=1, le=65535)
    database: str = Field(description="The database's name.", min_length=1)
    username: str = Field(description="Who signs in.", min_length=1)
    password: SecretStr | None = Field(None, description="The password.", min_length=1)
    tls: Literal["verify", "none"] = Field(
        "verify", description="verify encrypts and checks the server's certificate; none does neither."
    )
    ca: str | None = Field(None, description="Certificates (PEM) to trust, for a server of one's own.")


def hosts(fields: Mariadb) -> list[str]:
    """Return the one place."""
    host = f"[{fields.host}]" if ":" in fields.host else fields.host
    return [f"{host}:{fields.port}"]


@connection("mariadb", hosts=hosts)
async def mariadb(fields: Mariadb, link: Link) -> str:
    """A MariaDB or MySQL database."""
    async with session(link, read_only=True, seconds=10.0) as opened:
        found = await opened.run(Statement.parse("SELECT version()"), [{}], 1)
    return f"{fields.host} is {found.rows[0][0]}."
