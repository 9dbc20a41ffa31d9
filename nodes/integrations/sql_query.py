"""Read from a database: one statement, in a transaction that can change nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, JsonValue, WithJsonSchema

from celeriac import Context, Effect, Json, Retry, TryAgain, node
from celeriac.contract import LITERAL
from nodes.databases.parameters import Statement
from nodes.databases.session import KINDS, session
from nodes.databases.values import rows_of

MOST_ROWS = 10_000
Sql = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100_000, LITERAL: True})]
"""SQL is written by the author and by nobody else: values come as parameters, and no expression becomes a part of it."""


class Config(BaseModel, extra="forbid"):
    """What to ask, and whom."""

    connection: str = Field(
        description="The connection to the database, of the kind postgresql, sqlite or mariadb."
    )
    sql: Sql = Field(
        description="One statement, with :name where a value goes. It holds no expression.",
        min_length=1,
        max_length=100_000,
    )
    parameters: dict[str, JsonValue] = Field({}, description="The values, by name.")
    limit: int = Field(
        1_000, description="How many rows at most; `truncated` tells that there are more.", ge=1, le=MOST_ROWS
    )
    timeout: float = Field(30.0, description="Seconds the statement may take.", gt=0, le=3600)


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["rows", "columns", "truncated"],
    "properties": {
        "rows": {"type": "array", "items": {"type": "object"}},
        "columns": {"type": "array", "items": {"type": "string"}},
        "truncated": {"type": "boolean", "description": "Whether there are more rows than the limit."},
    },
    "additionalProperties": False,
}


@node(
    "sql_query",
    effect=Effect.READ,
    retry=Retry(3, delay=1.0, on=(TryAgain,)),
    timeout=3700.0,
    output=OUTPUT,
)
async def sql_query(config: Config, ctx: Context) -> Json:
    """Ask a database, and return its rows as objects."""
    link = await ctx.connect(config.connection, *KINDS)
    statement = Statement.parse(config.sql)
    statement.check([config.parameters])
    async with session(link, read_only=True, seconds=config.timeout) as opened:
        found = await opened.run(statement, [config.parameters], config.limit + 1)
    rows: list[Json] = [*rows_of(found.columns, found.rows[: config.limit])]
    return {"rows": rows, "columns": list(found.columns), "truncated": len(found.rows) > config.limit}
