"""Go one of two ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from celeriac import Context, Expr, Fail, Json, Route, node
from celeriac.contract import Decision

OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["result"],
    "properties": {"result": {"type": "boolean"}},
    "additionalProperties": False,
}


class Config(BaseModel, extra="forbid"):
    """What to decide on."""

    condition: Expr = Field(description="An expression that is true or false; braces are optional.")


def _decides(config: Mapping[str, Any]) -> dict[str | None, tuple[Decision, ...]]:
    condition = config["condition"]
    return {"true": ((condition, True),), "false": ((condition, False),)}


@node("if", ports=("true", "false"), output=OUTPUT, decides=_decides)
def if_condition(config: Config, _ctx: Context) -> Route:
    """Leave through the port true or the port false.

    Only a boolean decides. That an empty list counts as false in one language and as true in another is how a
    wrong branch is taken without anybody noticing.
    """
    result = config.condition
    if not isinstance(result, bool):
        message = f"The condition came to {type(result).__name__}, and has to come to true or false."
        raise Fail("if.not_boolean", message)
    return Route(("true" if result else "false",), {"result": result})
