"""A token that the service itself hands out (RFC 6749): for a client's own credentials, or for a refresh token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, SecretStr, model_validator

from celeriac import Carried, Fail, Link, Token, TryAgain, connection, exchange
from celeriac.contract import Effect
from nodes.connections import probe

if TYPE_CHECKING:
    import httpx2


class Oauth2(BaseModel, extra="forbid"):
    """Where tokens come from, and what for."""

    token_url: str = Field(description="Where the service hands out tokens.", pattern="^https?://")
    grant: Literal["client_credentials", "refresh_token"] = Field(
        "client_credentials", description="What a token is given for."
    )
    client_id: str = Field(description="The client's name.", min_length=1)
    client_secret: SecretStr | None = Field(None, description="The client's secret.", min_length=1)
    refresh_token: SecretStr | None = Field(
        None, description="The refresh token; one that may be used once is exchanged by itself.", min_length=1
    )
    scope: str | None = Field(None, description="What the token is for, with spaces between.")
    audience: str | None = Field(None, description="Whom the token is for, where a service asks for that.")
    send: Literal["header", "body"] = Field(
        "header", description="Where the client's secret goes: into the header (HTTP Basic) or into the body."
    )
    probe: str | None = Field(None, description="An address that answers only to a good token, for tests.")

    @model_validator(mode="after")
    def _whole(self) -> Oauth2:
        if (self.refresh_token is None) is (self.grant == "refresh_token"):
            message = "the grant refresh_token needs a refresh_token, and the other one takes none"
            raise ValueError(message)
        return self


async def log_in(fields: Oauth2, http: httpx2.AsyncClient) -> Token:
    """Ask for a token."""
    form = {"grant_type": fields.grant, "scope": fields.scope, "audience": fields.audience}
    refresh = fields.refresh_token.get_secret_value() if fields.refresh_token else None
    form["refresh_token"] = refresh
    secret = fields.client_secret.get_secret_value() if fields.client_secret else None
    auth: tuple[str, str] | None = None
    if secret is not None and fields.send == "header":
        auth = (fields.client_id, secret)
    else:
        form |= {"client_id": fields.client_id, "client_secret": secret}
    given = await ask(
        http, fields.token_url, {key: each for key, each in form.items() if each is not None}, auth
    )
    changed = given.get("refresh_token")
    exchanged = isinstance(changed, str) and changed != refresh and refresh is not None
    return token_of(given, {"refresh_token": str(changed)} if exchanged else {})


async def ask(
    http: httpx2.AsyncClient, url: str, form: dict[str, str], auth: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Return what a token endpoint answers. Raises `Fail` (`connection.refused`) or `TryAgain`; it names no secret."""
    request = http.build_request("POST", url, data=form, headers={"Accept": "application/json"})
    if auth is not None:
        import httpx2

        request = next(httpx2.BasicAuth(*auth).sync_auth_flow(request))
    response = await exchange.send(http, request, Effect.READ, 30.0)
    if response.status_code == 429 or response.status_code >= 500:
        raise TryAgain("http.unavailable", f"{url} was answered {response.status_code}.")
    body = exchange.body_of(response) if response.content else None
    if response.status_code != 200 or not isinstance(body, dict) or "access_token" not in body:
        said = body if isinstance(body, dict) else {}
        reason = f"{said.get('error') or response.status_code} {said.get('error_description') or ''}".strip()
        raise Fail("connection.refused", f"{url} hands out no token: {reason}.")
    return body


def token_of(given: dict[str, Any], changed: dict[str, str] | None = None) -> Token:
    """Return the token of an answer (RFC 6750)."""
    lives = given.get("expires_in")
    seconds = float(lives) if isinstance(lives, (int, float)) and not isinstance(lives, bool) else None
    return Token(
        Carried(headers={"Authorization": f"Bearer {given['access_token']}"}), seconds, changed or {}
    )


@connection("oauth2", log_in=log_in)
async def oauth2(fields: Oauth2, link: Link) -> str:
    """A service that hands out tokens (OAuth 2)."""
    if fields.probe is None:
        return "A token was handed out."
    return await probe.ask(fields.probe, link)
