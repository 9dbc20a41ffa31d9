"""A Pi-hole (version 6), by the password of its API: https://docs.pi-hole.net/api/auth/."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr

from celeriac import Carried, Fail, Link, Token, connection, exchange
from celeriac.contract import Effect

if TYPE_CHECKING:
    import httpx2


class PiHole(BaseModel, extra="forbid"):
    """Where it is, and the password."""

    base_url: str = Field(description="Where it is, like http://pi.hole.", pattern="^https?://")
    password: SecretStr = Field(description="The password, or one of an application.", min_length=1)


def hosts(fields: PiHole) -> list[str]:
    """Return its host."""
    return [urlsplit(fields.base_url).netloc]


async def log_in(fields: PiHole, http: httpx2.AsyncClient) -> Token:
    """Open a session, which the Pi-hole forgets by itself some time after its last use."""
    url = f"{fields.base_url.rstrip('/')}/api/auth"
    request = http.build_request("POST", url, json={"password": fields.password.get_secret_value()})
    response = await exchange.send(http, request, Effect.READ, 30.0)
    body = exchange.body_of(response) if response.content else None
    session = body.get("session") if isinstance(body, dict) else None
    if response.status_code != 200 or not isinstance(session, dict) or not session.get("sid"):
        raise Fail("connection.refused", f"{url} opens no session: it was answered {response.status_code}.")
    lives = session.get("validity")
    seconds = float(lives) if isinstance(lives, int) and lives > 0 else None
    return Token(Carried(headers={"X-FTL-SID": str(session["sid"])}), seconds)


@connection("pihole", hosts=hosts, log_in=log_in)
async def pihole(fields: PiHole, link: Link) -> str:
    """A Pi-hole, which answers for names."""
    response = await link.http.get(f"{fields.base_url.rstrip('/')}/api/info/version")
    if response.status_code != 200:
        raise Fail("connection.refused", f"It was answered {response.status_code}.")
    return "A session was opened."
