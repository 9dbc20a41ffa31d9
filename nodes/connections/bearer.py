"""A token in the header Authorization (RFC 6750)."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr

from celeriac import Carried, Link, connection
from nodes.connections import probe


class Bearer(BaseModel, extra="forbid"):
    """A token."""

    token: SecretStr = Field(description="The token.", min_length=1)
    probe: str | None = Field(None, description="An address that answers only to a good token, for tests.")


def carry(fields: Bearer) -> Carried:
    """Return the header."""
    return Carried(headers={"Authorization": f"Bearer {fields.token.get_secret_value()}"})


@connection("bearer", carry=carry)
async def bearer(fields: Bearer, link: Link) -> str:
    """A token that is sent in the header Authorization."""
    return await probe.ask(fields.probe, link)
