"""Compute one value."""

from __future__ import annotations

from pydantic import BaseModel, Field

from celeriac import Context, Expr, Json, node
from celeriac.contract import RENDERED


class Config(BaseModel, extra="forbid"):
    """What to compute."""

    expression: Expr = Field(description="The expression whose value is the output; braces are optional.")


@node("transform", output={RENDERED: "expression"})
def transform(config: Config, _ctx: Context) -> Json:
    """Return the value of an expression, whatever its type."""
    value: Json = config.expression
    return value
