"""End what is around the node: a branch, an iteration, a loop, a scope, the workflow."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, JsonValue, StringConstraints, WithJsonSchema

from celeriac import Context, Exit, node
from celeriac.contract import LITERAL


class Config(BaseModel, extra="forbid"):
    """What ends, and what it comes to."""

    scope: Annotated[
        str,
        StringConstraints(min_length=1),
        WithJsonSchema({"type": "string", "minLength": 1, LITERAL: True}),
    ] = Field(
        "workflow",
        description="branch, iteration, loop, workflow, or the id of a scope, map or loop around the node.",
    )
    value: JsonValue = Field(None, description="What it comes to: any JSON, with expressions.")


@node("exit", waits=True)
def exit_scope(config: Config, _ctx: Context) -> Exit:
    """End a branch, the current iteration, the loop or map around, a scope by its id, or the whole workflow, with a value."""
    return Exit(config.scope, config.value)
