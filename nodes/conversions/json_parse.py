"""Text as JSON, and lines of it (JSON Lines)."""

from __future__ import annotations

import json

from pydantic import BaseModel, Field

from celeriac import Context, Fail, Json, node
from celeriac.contract import PREVIOUS

MOST_BYTES = 10_000_000


class Config(BaseModel, extra="forbid"):
    """The text."""

    text: str = Field(
        "",
        description="The text. Left out, it is what the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    lines: bool = Field(
        default=False, description="Whether each line is a value of its own; then it is a list."
    )


@node("json_parse", output={})
def json_parse(config: Config, _ctx: Context) -> Json:
    """Turn text into the JSON value that it says."""
    if len(config.text.encode()) > MOST_BYTES:
        raise Fail("conversion.too_large", f"The text has more than {MOST_BYTES:,} bytes.")
    if not config.lines:
        return _read(config.text, "The text")
    found = enumerate(config.text.splitlines(), 1)
    return [_read(line, f"Line {number}") for number, line in found if line.strip()]


def _read(text: str, what: str) -> Json:
    try:
        value: Json = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Fail("conversion.invalid", f"{what} is no JSON: {error}.") from error
    return value


def _no_constant(name: str) -> Json:
    message = f"{name} is no JSON"
    raise ValueError(message)
