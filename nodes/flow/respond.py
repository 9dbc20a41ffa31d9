"""Answer whoever waits for the execution, and go on."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Respond, node
from celeriac.answers import FIRST, LAST, LONGEST, Header
from celeriac.contract import RENDERED

Line = Annotated[str, Field(max_length=LONGEST, pattern=r"^[\x20-\x7e]*$")]


class Config(BaseModel, extra="forbid"):
    """What to answer."""

    status: int = Field(
        200, description="The status of the answer in HTTP, from 200 to 599.", ge=FIRST, le=LAST
    )
    headers: dict[Header, Line] = Field(
        {}, description="Header fields of the answer, like Location or Retry-After; no others than these."
    )
    body: JsonValue = Field(None, description="What is answered: any JSON, with expressions.")


@node(
    "respond",
    waits=True,
    output={
        "type": "object",
        "required": ["status", "headers", "body"],
        "properties": {
            "status": {"type": "integer"},
            "headers": {"type": "object"},
            "body": {RENDERED: "body"},
        },
        "additionalProperties": False,
    },
)
def respond(config: Config, _ctx: Context) -> Respond:
    """Answer whoever waits for this execution, which goes on. The first answer of an execution counts."""
    return Respond(config.body, config.status, {str(name): each for name, each in config.headers.items()})
