"""Nothing."""

from __future__ import annotations

from pydantic import BaseModel

from celeriac import Context, Json, node


class Config(BaseModel, extra="forbid"):
    """Nothing to set."""


@node("noop", output={"type": "null"})
def noop(_config: Config, _ctx: Context) -> Json:
    """Do nothing and return null: a place to hang edges on."""
    return None
