"""A Redis or Valkey, and one conversation with it on a socket that was judged before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from pydantic import BaseModel, Field, SecretStr

from celeriac import Fail, Link, TryAgain, connection
from nodes.connections.encryption import trusting
from nodes.databases.resp import Broken, Conversation, Refused

AGAIN = frozenset(
    {
        "LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "NOREPLICAS", "OOM", "MOVED", "ASK",
    }
)  # fmt: skip
"""What a server says that cannot do it now, or not here."""

_NOBODY = frozenset({"WRONGPASS", "NOAUTH", "NOPERM"})


class Redis(BaseModel, extra="forbid"):
    """Where the server is, and who works with it."""

    host: str = Field(description="The server's name.", min_length=1)
    port: int = Field(6379, description="Its port.", ge=1, le=65535)
    database: int = Field(0, description="The database's number.", ge=0)
    username: str | None = Field(None, description="Who signs in, where there are users.", min_length=1)
    password: SecretStr | None = Field(None, description="The password.", min_length=1)
    tls: Literal["verify", "none"] = Field(
        "verify", description="verify encrypts and checks the server's certificate; none does neither."
    )
    ca: str | None = Field(None, description="Certificates (PEM) to trust, for a server of one's own.")


def hosts(fields: Redis) -> list[str]:
    """Return the one place."""
    host = f"[{fields.host}]" if ":" in fields.host else fields.host
    return [f"{host}:{fields.port}"]


@connection("redis", hosts=hosts)
async def redis(fields: Redis, link: Link) -> str:
    """A Redis or Valkey server."""
    async with conversation(fields, link, 10.0) as opened:
        try:
            said = await opened.ask("INFO", "server")
        except (Refused, Broken) as error:
            raise refusal(error, fields.host) from error
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else ""
    told = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    name = "Valkey" if "valkey_version" in told else "Redis"
    return f"{fields.host} is {name} {told.get('valkey_version') or told.get('redis_version')}."


@asynccontextmanager
async def conversation(fields: Redis, link: Link, seconds: float) -> AsyncIterator[Conversation]:
    """Hand over a signed-in conversation. Raises `Fail` or `TryAgain`: nothing was asked yet."""
    trusted = trusting(fields.ca) if fields.tls == "verify" else None
    sock = await link.dial(fields.host, fields.port)
    try:
        reader, writer = await asyncio.open_connection(
            sock=sock,
            ssl=trusted,
            server_hostname=fields.host if trusted else None,
            ssl_handshake_timeout=seconds if trusted else None,
        )
    except OSError as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise TryAgain("connection.unreachable", f"{fields.host} cannot be used: {reason}.") from error
    opened = Conversation(reader, writer, seconds)
    try:
        try:
            if fields.password is not None:
                who = [] if fields.username is None else [fields.username]
                await opened.ask("AUTH", *who, fields.password.get_secret_value())
            if fields.database:
                await opened.ask("SELECT", fields.database)
        except (Refused, Broken) as error:
            raise refusal(error, fields.host) from error
        yield opened
    finally:
        opened.close()


def refusal(error: Refused | Broken, host: str) -> Fail | TryAgain:
    """Return what an error comes to before anything was asked, or for what only reads."""
    if isinstance(error, Broken) or error.word in AGAIN:
        return TryAgain("redis.again", f"{host}: {error}")
    if error.word in _NOBODY or (error.word == "ERR" and "AUTH" in str(error)):
        return Fail("connection.refused", f"{host} refuses the credential: {error}.")
    return Fail("redis.failed", f"{host} refuses: {error}.")
