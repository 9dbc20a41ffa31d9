"""A server of tools that is a program of this machine, started for each call (Model Context Protocol)."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, Field, SecretStr

from celeriac import Link, connection
from nodes.connections.mcp import counted


class McpProgram(BaseModel, extra="forbid"):
    """Which program, and who asks."""

    program: str = Field(
        description="The program, by the name under which the installation allows it (CELERIAC_MCP_PROGRAMS).",
        min_length=1,
        max_length=64,
    )
    token: SecretStr | None = Field(
        None, description="What stands for {token} in its environment, if it wants one.", min_length=1
    )


@connection("mcp_program", hosts=lambda _: [])
async def mcp_program(_: McpProgram, link: Link) -> str:
    """A server of tools that is a program of this machine (Model Context Protocol)."""
    return await counted(link, datetime.now(UTC))
