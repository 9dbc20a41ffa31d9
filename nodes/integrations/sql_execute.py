"""Change a database: one statement, once or for each of many rows, in one transaction.

With `remember` the database itself keeps the node's key, in the transaction of the change. Repeated after a crash, the node
finds it there and changes nothing: the effect happens exactly once, whatever dies. Without it, a commit whose answer got
lost leaves the effect in doubt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, JsonValue, StrictBool, StringConstraints

from celeriac import Context, Effect, Fail, Json, Link, Retry, TryAgain, Uncertain, node
from nodes.databases.parameters import Statement
from nodes.databases.session import KINDS, Lost, Session, session
from nodes.databases.values import rows_of
from nodes.integrations.sql_query import MOST_ROWS, Sql

MOST_PARAMETER_ROWS = 100_000
_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,62}"


class Config(BaseModel, extra="forbid"):
    """What to change, and where."""

    connection: str = Field(
        description="The connection to the database, of the kind postgresql, sqlite or mariadb."
    )
    sql: Sql = Field(
        description="One statement, with :name where a value goes. It holds no expression.",
        min_length=1,
        max_length=100_000,
    )
    parameters: dict[str, JsonValue] | list[dict[str, JsonValue]] = Field(
        {}, description="The values, by name; a list runs the statement for each of its entries."
    )
    remember: Annotated[str, StringConstraints(pattern=f"^{_NAME}$")] | None = Field(
        None,
        description="A table that keeps the keys of changes, made when it is not there. With it the change happens "
        "exactly once.",
    )
    idempotent: StrictBool | None = Field(
        None, description="True: the statement comes to the same when repeated, as an upsert does."
    )
    timeout: float = Field(30.0, description="Seconds the statement may take.", gt=0, le=3600)


def effect(config: Mapping[str, Any]) -> Effect:
    """Return what a change is: repeatable when the database remembers it, or when the author says so."""
    remembers = isinstance(config.get("remember"), str) and re.fullmatch(_NAME, config["remember"])
    return Effect.KEYED if remembers or config.get("idempotent") is True else Effect.ONCE


_THERE = {
    "postgresql": "SELECT 1 WHERE to_regclass(:name) IS NOT NULL",
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name",
    "mariadb": "SELECT 1 FROM information_schema.tables WHERE table_schema = database() AND table_name = :name",
}
"""Whether a table exists. Asked first, since making one needs a right that its user may not have."""

OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["count", "rows"],
    "properties": {
        "count": {"type": "integer", "description": "How many rows were changed."},
        "rows": {
            "type": "array",
            "items": {"type": "object"},
            "description": "What the last RETURNING gave.",
        },
    },
    "additionalProperties": False,
}


@node(
    "sql_execute",
    effect=effect,
    retry=Retry(3, delay=1.0, on=(TryAgain,)),
    timeout=3700.0,
    output=OUTPUT,
)
async def sql_execute(config: Config, ctx: Context) -> Json:
    """Change a database in one transaction."""
    link = await ctx.connect(config.connection, *KINDS)
    statement = Statement.parse(config.sql)
    rows = config.parameters if isinstance(config.parameters, list) else [config.parameters]
    if len(rows) > MOST_PARAMETER_ROWS:
        raise Fail(
            "sql.parameters", f"There are {len(rows):,} rows of parameters; at most {MOST_PARAMETER_ROWS:,}."
        )
    statement.check(rows)
    async with session(link, read_only=False, seconds=config.timeout) as opened:
        if config.remember is not None:
            known = await _recall(opened, config.remember, ctx.idempotency_key, link)
            if known is not None:
                return known
        found = await opened.run(statement, rows, MOST_ROWS)
        result: dict[str, Json] = {"count": found.count, "rows": [*rows_of(found.columns, found.rows)]}
        if config.remember is not None:
            await _keep(opened, config.remember, ctx.idempotency_key, result)
        try:
            await opened.commit()
        except Lost as error:
            raise _lost(config, error) from error
    return result


async def _recall(opened: Session, table: str, key: str, link: Link) -> dict[str, Json] | None:
    """Return what this very change came to, if it was made before; else take its key, so that no other attempt makes it."""
    there = await opened.run(Statement.parse(_THERE[link.kind]), [{"name": table}], 1)
    if not there.rows:
        kind = "VARCHAR(64)" if link.kind == "mariadb" else "TEXT"
        make = f"CREATE TABLE IF NOT EXISTS {table} (effect {kind} PRIMARY KEY, outcome TEXT)"
        try:
            await opened.run(Statement.parse(make), [{}], None)
        except Fail as error:
            if error.code == "sql.constraint":  # somebody else is making it just now
                raise TryAgain("sql.again", error.message, None, error.details) from error
            raise
    if link.kind == "mariadb":  # which commits what it creates
        take = f"INSERT IGNORE INTO {table} (effect) VALUES (:effect)"  # noqa: S608  a name, checked by the config
    else:
        take = f"INSERT INTO {table} (effect) VALUES (:effect) ON CONFLICT (effect) DO NOTHING"  # noqa: S608
    taken = await opened.run(Statement.parse(take), [{"effect": key}], None)
    if taken.count == 1:
        return None
    look = f"SELECT outcome FROM {table} WHERE effect = :effect"  # noqa: S608
    found = await opened.run(Statement.parse(look), [{"effect": key}], 1)
    known: dict[str, Json] = json.loads(found.rows[0][0])
    return known


async def _keep(opened: Session, table: str, key: str, result: Mapping[str, Json]) -> None:
    keep = f"UPDATE {table} SET outcome = :outcome WHERE effect = :effect"  # noqa: S608
    row: dict[str, Json] = {"effect": key, "outcome": json.dumps(result)}
    await opened.run(Statement.parse(keep), [row], None)


def _lost(config: Config, error: Lost) -> TryAgain | Uncertain:
    """Return what a commit without an answer comes to."""
    if effect(config.model_dump()) is Effect.KEYED:
        return TryAgain("sql.again", f"The connection broke while the change was committed: {error}")
    return Uncertain(
        "effect.uncertain",
        "The connection broke while the change was committed. Nobody knows whether it was. Look there; or let the database "
        "remember its changes: `remember`.",
    )
