"""Call another workflow, and wait for its result or go on."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, JsonValue, model_validator

from celeriac import Call, Context, node
from celeriac.contract import LITERAL, TRUSTED

_FIXED: dict[str, JsonValue] = {LITERAL: True}
_YEAR = 366 * 86_400.0


class Config(
    BaseModel,
    extra="forbid",
    json_schema_extra={"oneOf": [{"required": ["workflow"]}, {"required": ["definition"]}]},
):
    """Which one, and what it gets."""

    workflow: str | None = Field(
        None,
        description="Name or id of the workflow; `self` is the one this node stands in.",
        min_length=1,
        json_schema_extra={TRUSTED: True},
    )
    definition: dict[str, JsonValue] | None = Field(
        None,
        description="Instead of `workflow`: a definition of its own, written here.",
        json_schema_extra=_FIXED,
    )
    version: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        None, description="Number of the version; without it, the one that is active when the call begins."
    )
    input: JsonValue = Field({}, description="The payload it starts with.")
    wait: bool = Field(
        True, description="Rest until it has ended, and take over its result; or go on at once with its id."
    )
    key: str | None = Field(
        None,
        description="With `wait: false`: what was started under this key is not started a second time.",
        min_length=1,
        max_length=255,
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.workflow is None) == (self.definition is None):
            message = "exactly one of `workflow` and `definition` is needed"
            raise ValueError(message)
        if self.definition is not None and self.version is not None:
            message = "a `definition` has no other versions: leave `version` out"
            raise ValueError(message)
        if self.key is not None and self.wait:
            message = "a `key` is for a start that nobody waits for: add `wait: false`, or leave it out"
            raise ValueError(message)
        return self


@node("workflow", waits=True, timeout=_YEAR)
def workflow(config: Config, _ctx: Context) -> Call:
    """Start another workflow as an execution of its own."""
    return Call(config.workflow or "", config.input, config.version, config.wait, config.key)
