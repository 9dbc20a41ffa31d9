"""Sessions with PostgreSQL, over psycopg. The server is reached at judged addresses, and its name is what TLS checks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac import Fail, Json, Link, TryAgain
from nodes.databases.parameters import Statement
from nodes.databases.session import Lost, Result, failure

if TYPE_CHECKING:
    import psycopg

_AGAIN = ("08", "40", "53", "55P03", "57014", "57P")
"""SQLSTATEs of what may go well another time: connection, serialization and deadlock, resources, locks, time, shut-down."""


@asynccontextmanager
async def opened(link: Link, *, read_only: bool, seconds: float) -> AsyncIterator[PostgresSession]:
    """Connect and begin a transaction."""
    import psycopg

    fields = link.fields
    addresses = await link.addresses(fields.host, fields.port)
    with ExitStack() as stack:
        parameters: dict[str, Any] = {
            "host": ",".join([fields.host] * len(addresses)),
            "hostaddr": ",".join(addresses),
            "port": fields.port,
            "dbname": fields.database,
            "user": fields.username,
            "password": fields.password.get_secret_value() if fields.password else "",
            "sslmode": {"verify": "verify-full", "require": "require", "none": "disable"}[fields.tls],
            "connect_timeout": 10,
            "application_name": "celeriac",
            "options": f"-c statement_timeout={round(seconds * 1000)} -c lock_timeout={round(seconds * 1000)}",
            # Nothing of the process's user plays a part.
            "passfile": os.devnull,
            "sslcertmode": "disable",
            "gssencmode": "disable",
        }
        if fields.tls == "verify":
            parameters["sslrootcert"] = _trusted(fields.ca, stack) if fields.ca else "system"
        try:
            connection = await psycopg.AsyncConnection.connect(
                **parameters, autocommit=False, prepare_threshold=None
            )
        except psycopg.Error as error:
            raise _refusal(error, fields.host) from error
    try:
        await connection.set_read_only(read_only)
        yield PostgresSession(connection)
    finally:
        await connection.close()


class PostgresSession:
    """One transaction with PostgreSQL."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def run(self, statement: Statement, rows: Sequence[Mapping[str, Json]], most: int | None) -> Result:
        """Run a statement once for each row of parameters, by the protocol that takes one statement only."""
        import psycopg

        text = statement.written("pyformat")
        try:
            async with self._connection.cursor() as cursor:
                count = 0
                for row in rows:
                    values = {name: _adapted(value) for name, value in row.items()}
                    await cursor.execute(text, values, prepare=True)
                    count += max(0, cursor.rowcount)
                columns = tuple(each.name for each in cursor.description or ())
                found = (
                    []
                    if not columns
                    else await (cursor.fetchall() if most is None else cursor.fetchmany(most))
                )
                return Result(columns, found, count)
        except psycopg.Error as error:
            raise _failure(error) from error

    async def commit(self) -> None:
        """Make it durable."""
        import psycopg

        try:
            await self._connection.commit()
        except psycopg.Error as error:
            if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
                raise Lost(str(error)) from error
            raise _failure(error) from error


def _failure(error: psycopg.Error) -> Fail | TryAgain:
    """Return what an error inside a transaction comes to: one that is not committed has not happened."""
    state = error.sqlstate
    if state is None:
        import psycopg

        broken = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return failure(str(error), None, again=broken)
    primary = error.diag.message_primary or str(error)
    return failure(primary, state, again=state.startswith(_AGAIN))


def _refusal(error: psycopg.Error, host: str) -> Fail | TryAgain:
    """Return what a connection that did not come about comes to. libpq has no code for that: what is not known to last may
    be tried again.
    """
    asked_for_password = error.pgconn is not None and (
        error.pgconn.needs_password or error.pgconn.used_password
    )
    again = not asked_for_password and not _is_about_tls(error)
    return failure(f"{host} cannot be used: {error}", None, again=again, secret=bool(asked_for_password))


def _adapted(value: Json) -> Any:
    from psycopg.types.json import Jsonb

    is_json = isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value)
    )
    return Jsonb(value) if is_json else value


def _is_about_tls(error: Exception) -> bool:
    """Whether the two could not agree on encryption: libpq has no code for that, and no other word."""
    text = str(error).lower()
    return "ssl" in text or "certificate" in text


def _trusted(ca: str, stack: ExitStack) -> str:
    """Write certificates where libpq can read them, for as long as it connects."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="celeriac-"))
    path = Path(folder) / "ca.pem"
    path.write_text(ca, encoding="ascii")
    return str(path)
