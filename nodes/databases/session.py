"""A session with a database: one transaction, on a connection of its own. Each kind of database has one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from celeriac import Fail, Json, Link, TryAgain
from nodes.databases.parameters import Statement

KINDS = ("postgresql", "sqlite", "mariadb")


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement came to. `rows` are at most as many as were asked for; `count` is how many it changed."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    count: int


class Session(Protocol):
    """One transaction. What is not committed when the session ends has not happened."""

    async def run(self, statement: Statement, rows: Sequence[Mapping[str, Json]], most: int | None) -> Result:
        """Run a statement once for each row of parameters. Raises `Fail` or `TryAgain`; nothing has happened then."""

    async def commit(self) -> None:
        """Make it durable. Raises `Lost` when nobody knows whether it is, else `Fail` or `TryAgain`."""


class Lost(Exception):
    """The connection broke while a commit was under way."""


@asynccontextmanager
async def session(link: Link, *, read_only: bool, seconds: float) -> AsyncIterator[Session]:
    """Open a session. Raises `Fail` or `TryAgain`."""
    if link.kind == "postgresql":
        from nodes.databases import postgresql as dialect
    elif link.kind == "sqlite":
        from nodes.databases import sqlite as dialect  # type: ignore[no-redef]  # the same by structure
    else:
        from nodes.databases import mariadb as dialect  # type: ignore[no-redef]
    async with dialect.opened(link, read_only=read_only, seconds=seconds) as made:
        yield made


def failure(message: str, state: str | None, *, again: bool, secret: bool = False) -> Fail | TryAgain:
    """Return what an error of a database comes to. `state` is its SQLSTATE, or its own name for what happened."""
    code = "sql.failed"
    if secret:
        code = "connection.refused"
    elif state is not None and state.startswith(("23", "SQLITE_CONSTRAINT")):
        code = "sql.constraint"
    details: dict[str, Json] = {} if state is None else {"state": state}
    text = " ".join(message.split())[:1000]
    return TryAgain("sql.again", text, None, details) if again else Fail(code, text, details)
