"""A Google account: a service account's key (RFC 7523), or a refresh token of a person.

https://developers.google.com/identity/protocols/oauth2/service-account
"""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from celeriac import Fail, Link, Token, connection
from nodes.connections.oauth2 import ask, token_of

if TYPE_CHECKING:
    import httpx2

TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  an address
SCOPES = (
    "https://www.googleapis.com/auth/spreadsheets",
    "https://www.googleapis.com/auth/calendar",
    "https://www.googleapis.com/auth/drive",
)
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIVES = 3600


class Google(BaseModel, extra="forbid"):
    """Whose account it is, and what may be done with it."""

    service_account: SecretStr | None = Field(
        None, description="The JSON file of a service account's key, as Google gives it."
    )
    subject: str | None = Field(
        None, description="Whom the service account acts for, in an organisation that allows it."
    )
    client_id: str | None = Field(None, description="The OAuth client's name, for a person's account.")
    client_secret: SecretStr | None = Field(None, description="The OAuth client's secret.", min_length=1)
    refresh_token: SecretStr | None = Field(None, description="The person's refresh token.", min_length=1)
    scopes: list[str] = Field(list(SCOPES), description="What may be done.", min_length=1)
    base_url: str | None = Field(None, description="Where all APIs are, if not at Google's own addresses.")
    token_url: str = Field(TOKEN_URL, description="Where tokens are handed out.", pattern="^https?://")

    @field_validator("service_account")
    @classmethod
    def _a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                key = json.loads(value.get_secret_value())
                whole = isinstance(key, dict) and {"client_email", "private_key"} <= set(key)
            except ValueError:
                whole = False
            if not whole:
                message = "it is the JSON file of a key, with client_email and private_key"
                raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _whole(self) -> Google:
        person = (self.client_id, self.client_secret, self.refresh_token)
        if (self.service_account is None) is (None in person):
            message = "it takes service_account, or client_id, client_secret and refresh_token"
            raise ValueError(message)
        return self


def hosts(fields: Google) -> list[str]:
    """Return Google's own, or the one of `base_url`."""
    if fields.base_url is None:
        return ["*.googleapis.com"]
    from urllib.parse import urlsplit

    return [urlsplit(fields.base_url).netloc]


async def log_in(fields: Google, http: httpx2.AsyncClient) -> Token:
    """Ask Google for a token."""
    if fields.service_account is None:
        assert fields.client_id is not None  # noqa: S101  the model has looked
        assert fields.client_secret is not None  # noqa: S101
        assert fields.refresh_token is not None  # noqa: S101
        form = {
            "grant_type": "refresh_token",
            "client_id": fields.client_id,
            "client_secret": fields.client_secret.get_secret_value(),
            "refresh_token": fields.refresh_token.get_secret_value(),
        }
    else:
        assertion = signed(json.loads(fields.service_account.get_secret_value()), fields, int(time.time()))
        form = {"grant_type": _GRANT, "assertion": assertion}
    return token_of(await ask(http, fields.token_url, form))


def signed(key: dict[str, Any], fields: Google, now: int) -> str:
    """Return what a service account says of itself, signed with its key (RS256). Raises `Fail` for a key that is none."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    claims = {
        "iss": key["client_email"],
        "scope": " ".join(fields.scopes),
        "aud": fields.token_url,
        "iat": now,
        "exp": now + _LIVES,
    }
    if fields.subject is not None:
        claims["sub"] = fields.subject
    header = {"alg": "RS256", "typ": "JWT", "kid": key.get("private_key_id")}
    text = ".".join(_coded(json.dumps(each).encode()) for each in (header, claims))
    try:
        private = load_pem_private_key(str(key["private_key"]).encode(), None)
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, RSAPrivateKey):
        raise Fail("connection.invalid", "The private_key of the service account is no RSA key.")
    return f"{text}.{_coded(private.sign(text.encode(), PKCS1v15(), SHA256()))}"


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@connection("google", hosts=hosts, log_in=log_in)
async def google(fields: Google, _: Link) -> str:
    """A Google account: Sheets, Calendar and Drive."""
    return f"A token was handed out for {len(fields.scopes)} scopes."
