"""A key in a header or a query parameter of the service's own choice."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr, model_validator

from celeriac import Carried, Link, connection
from nodes.connections import probe


class ApiKey(BaseModel, extra="forbid"):
    """A key, and where it goes."""

    value: SecretStr = Field(description="The key.", min_length=1)
    header: str | None = Field(None, description="The header it is sent in.", min_length=1)
    query: str | None = Field(None, description="The query parameter it is sent in.", min_length=1)
    probe: str | None = Field(None, description="An address that answers only to a good key, for tests.")

    @model_validator(mode="after")
    def _one_place(self) -> ApiKey:
        if (self.header is None) is (self.query is None):
            message = "it takes header or query, and one of them only"
            raise ValueError(message)
        return self


def carry(fields: ApiKey) -> Carried:
    """Return the header or the parameter."""
    key = fields.value.get_secret_value()
    if fields.header is not None:
        return Carried(headers={fields.header: key})
    return Carried(query={str(fields.query): key})


@connection("api_key", carry=carry)
async def api_key(fields: ApiKey, link: Link) -> str:
    """A key that is sent in a header or in the query."""
    return await probe.ask(fields.probe, link)
