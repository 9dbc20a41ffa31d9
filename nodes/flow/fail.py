"""Fail on purpose."""

from __future__ import annotations

from pydantic import BaseModel, Field

from celeriac import Context, Fail, Json, node


class Config(BaseModel, extra="forbid"):
    """How to fail."""

    message: str = Field(description="What is wrong, in words for people.", min_length=1, max_length=10_000)
    code: str = Field(
        "workflow.failed",
        description="A stable name of the failure, AREA.REASON, for retries and error edges to select on.",
        pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$",
        max_length=100,
    )


@node("fail", output={"not": {}})
def fail(config: Config, _ctx: Context) -> Json:
    """Fail with a code and a message of the author's."""
    raise Fail(config.code, config.message)
