"""An application of Microsoft Entra ID, which gets its tokens for its own credentials.

https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, Field, SecretStr

from celeriac import Link, Token, connection
from nodes.connections.oauth2 import ask, token_of

if TYPE_CHECKING:
    import httpx2


class Application(BaseModel, extra="forbid"):
    """Which application it is, and of whom."""

    tenant: str = Field(description="The organisation's id or domain.", min_length=1)
    client_id: str = Field(description="The application's id.", min_length=1)
    client_secret: SecretStr = Field(description="The application's secret.", min_length=1)
    login_url: str = Field(
        "https://login.microsoftonline.com", description="Where tokens are handed out.", pattern="^https?://"
    )
    base_url: str = Field(description="Where the API is.", pattern="^https?://")
    resource: str = Field(description="Whom the token is for.")


class Entra(Application):
    """An application that may change users."""

    base_url: str = Field(
        "https://graph.microsoft.com", description="Where the API is.", pattern="^https?://"
    )
    resource: str = Field("https://graph.microsoft.com", description="Whom the token is for.")


class Defender(Application):
    """An application that may act on devices."""

    base_url: str = Field(
        "https://api.security.microsoft.com", description="Where the API is.", pattern="^https?://"
    )
    resource: str = Field("https://api.securitycenter.microsoft.com", description="Whom the token is for.")


def hosts(fields: Application) -> list[str]:
    """Return the API's host."""
    return [urlsplit(fields.base_url).netloc]


async def log_in(fields: Application, http: httpx2.AsyncClient) -> Token:
    """Ask for a token."""
    form = {
        "grant_type": "client_credentials",
        "client_id": fields.client_id,
        "client_secret": fields.client_secret.get_secret_value(),
        "scope": f"{fields.resource.rstrip('/')}/.default",
    }
    url = f"{fields.login_url.rstrip('/')}/{quote(fields.tenant, safe='')}/oauth2/v2.0/token"
    return token_of(await ask(http, url, form))


@connection("entra", hosts=hosts, log_in=log_in)
async def entra(fields: Entra, _: Link) -> str:
    """An application of Microsoft Entra ID that may change users."""
    return f"A token was handed out for {fields.resource}."


@connection("defender", hosts=hosts, log_in=log_in)
async def defender(fields: Defender, _: Link) -> str:
    """An application that may act on devices in Microsoft Defender."""
    return f"A token was handed out for {fields.resource}."
