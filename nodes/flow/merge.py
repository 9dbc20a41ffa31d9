"""Bring branches together."""

from __future__ import annotations

from pydantic import BaseModel

from celeriac import Context, Json, node


class Config(BaseModel, extra="forbid"):
    """Nothing to set; the node's `join` says what it waits for."""


@node("merge", output={"type": "null"})
def merge(_config: Config, _ctx: Context) -> Json:
    """Do nothing once: where branches come together, and what follows is to happen a single time."""
    return None
