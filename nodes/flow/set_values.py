"""Name some values."""

from __future__ import annotations

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Json, node
from celeriac.contract import RENDERED


class Config(BaseModel, extra="forbid"):
    """What to name."""

    values: dict[str, JsonValue] = Field(description="The output: values by name.")


@node("set", output={RENDERED: "values"})
def set_values(config: Config, _ctx: Context) -> Json:
    """Return the values it is given, for later nodes to read by name."""
    return dict(config.values)
