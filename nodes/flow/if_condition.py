"""Go one of two ways."""

from __future__ import annotations

from pydantic import BaseModel, Field

from celeriac import Context, Expr, Fail, Route, node


class Config(BaseModel, extra="forbid"):
    """What to decide on."""

    condition: Expr = Field(description="An expression that is true or false; braces are optional.")


@node("if", ports=("true", "false"))
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
