"""CSV (RFC 4180) as rows."""

from __future__ import annotations

import csv
import io

from pydantic import BaseModel, Field

from celeriac import Context, Fail, Json, node
from celeriac.contract import PREVIOUS

MOST_BYTES = 5_000_000


class Config(BaseModel, extra="forbid"):
    """The text, and how it is written."""

    text: str = Field(
        "",
        description="The text. Left out, it is what the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    delimiter: str = Field(",", description="What stands between two fields.", min_length=1, max_length=1)
    header: bool = Field(
        default=True, description="Whether the first row has names: rows are objects then, else lists."
    )
    columns: list[str] | None = Field(None, description="The names of the columns, where no row has them.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["rows", "columns"],
    "properties": {
        "rows": {
            "type": "array",
            "description": "Objects by column, all of text; lists where there are no names.",
        },
        "columns": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}


@node("csv_parse", output=OUTPUT)
def csv_parse(config: Config, _ctx: Context) -> Json:
    """Turn CSV into rows."""
    if len(config.text.encode()) > MOST_BYTES:
        raise Fail("conversion.too_large", f"The text has more than {MOST_BYTES:,} bytes.")
    try:
        text = io.StringIO(config.text.removeprefix("\ufeff"), newline="")
        read = [row for row in csv.reader(text, delimiter=config.delimiter, strict=True) if row]
    except csv.Error as error:
        raise Fail("conversion.invalid", f"The text is no CSV: {error}.") from error
    columns = config.columns
    if columns is None and config.header:
        columns, read = (read[0] if read else []), read[1:]
    if columns is None:
        return {"rows": [[*row] for row in read], "columns": []}
    if len(set(columns)) < len(columns):
        raise Fail(
            "conversion.invalid",
            "Two columns have one name. Give the names as `columns`, with `header: false`.",
        )
    rows: list[Json] = []
    for number, row in enumerate(read, 2 if config.header and config.columns is None else 1):
        if len(row) != len(columns):
            message = f"Row {number} has {len(row)} fields, and there are {len(columns)} columns."
            raise Fail("conversion.invalid", message, {"row": number})
        rows.append(dict(zip(columns, row, strict=True)))
    return {"rows": rows, "columns": [*columns]}
