"""A user's name and password, as HTTP Basic sends them (RFC 7617)."""

from __future__ import annotations

import base64

from pydantic import BaseModel, Field, SecretStr, model_validator

from celeriac import Carried, Link, connection
from nodes.connections import probe


class Basic(BaseModel, extra="forbid"):
    """A name and a password."""

    username: str = Field(description="The user's name, without a colon.", min_length=1, pattern=r"^[^:]*$")
    password: SecretStr = Field(description="The password.", min_length=1)
    probe: str | None = Field(None, description="An address that answers only to a good password, for tests.")

    @model_validator(mode="after")
    def _sendable(self) -> Basic:
        if not (self.username + self.password.get_secret_value()).isprintable():
            message = "name and password have no control characters"
            raise ValueError(message)
        return self


def carry(fields: Basic) -> Carried:
    """Return the header."""
    pair = f"{fields.username}:{fields.password.get_secret_value()}".encode()
    return Carried(headers={"Authorization": f"Basic {base64.b64encode(pair).decode()}"})


@connection("basic", carry=carry)
async def basic(fields: Basic, link: Link) -> str:
    """A user's name and password, sent with HTTP Basic."""
    return await probe.ask(fields.probe, link)
