"""Rows as CSV (RFC 4180)."""

from __future__ import annotations

import csv
import io
import json

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Fail, Json, node
from celeriac.contract import PREVIOUS

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Config(BaseModel, extra="forbid"):
    """The rows, and how they are written."""

    rows: JsonValue = Field(
        None,
        description="A list of objects, or of lists. Left out, it is what the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    columns: list[str] | None = Field(
        None, description="Which columns, in which order; else those of all rows, as they come."
    )
    delimiter: str = Field(",", description="What stands between two fields.", min_length=1, max_length=1)
    header: bool = Field(default=True, description="Whether the first row has the names.")
    guard: bool = Field(
        default=True,
        description="Whether text that a spreadsheet would take for a formula is quoted with '. Numbers are left alone.",
    )


@node("csv_write", output={"type": "string"})
def csv_write(config: Config, _ctx: Context) -> Json:
    """Turn rows into CSV."""
    if not isinstance(config.rows, list):
        raise Fail("conversion.invalid", "The rows are no list.")
    columns = config.columns
    if columns is None:
        names = (name for row in config.rows if isinstance(row, dict) for name in row)
        columns = list(dict.fromkeys(names))
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=config.delimiter)
    if config.header and columns:
        writer.writerow([_cell(each, guard=config.guard) for each in columns])
    for number, row in enumerate(config.rows, 1):
        if isinstance(row, dict):
            values = [row.get(name) for name in columns]
        elif isinstance(row, list):
            values = row
        else:
            raise Fail(
                "conversion.invalid", f"Row {number} is neither an object nor a list.", {"row": number}
            )
        writer.writerow([_cell(each, guard=config.guard) for each in values])
    return text.getvalue()


def _cell(value: Json, *, guard: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if guard and value.startswith(_FORMULA) else value
    return json.dumps(value, ensure_ascii=False)
