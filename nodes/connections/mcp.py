"""A server of tools that speaks the Model Context Protocol."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr

from celeriac import Carried, Link, connection
from nodes.mcp.session import session


class Mcp(BaseModel, extra="forbid"):
    """Where it is, and who asks."""

    url: str = Field(description="Its endpoint, like https://tools.example.com/mcp.", pattern="^https?://")
    token: SecretStr | None = Field(None, description="A token, if it wants one (Bearer).", min_length=1)


def hosts(fields: Mcp) -> list[str]:
    """Return its host."""
    return [urlsplit(fields.url).netloc]


def carry(fields: Mcp) -> Carried:
    """Return the header."""
    if fields.token is None:
        return Carried()
    return Carried(headers={"Authorization": f"Bearer {fields.token.get_secret_value()}"})


@connection("mcp", hosts=hosts, carry=carry)
async def mcp(_: Mcp, link: Link) -> str:
    """A server of tools (Model Context Protocol)."""
    return await counted(link, datetime.now(UTC))


async def counted(link: Link, now: datetime) -> str:
    """Return which tools the server of a connection has, in a few words."""
    async with session(link, now, 30.0) as made:
        names = [str(each.get("name")) for each in await made.tools()]
    return f"{made.server or 'It'} has {len(names)} tools: {', '.join(names)[:300]}."
