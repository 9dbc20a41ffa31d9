"""Sessions with MariaDB and MySQL, over PyMySQL in a thread, on a socket that was judged before."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac import Fail, Json, Link, TryAgain
from nodes.connections.encryption import trusting
from nodes.databases.parameters import Statement
from nodes.databases.session import Lost, Result, failure
from nodes.databases.values import text_of

if TYPE_CHECKING:
    from pymysql.connections import Connection

T = TypeVar("T")

_AGAIN = frozenset(
    {1040, 1042, 1043, 1053, 1129, 1158, 1159, 1160, 1161, 1205, 1213, 1317, 1969, 2006, 2013, 2055, 3024}
)
"""Errors of what may go well another time: too many connections, shut-down, network, locks, deadlock, time."""

_LOST = frozenset({2006, 2013, 2055})
_REFUSED = frozenset({1044, 1045, 1698})
_CONSTRAINT = frozenset({1022, 1048, 1062, 1216, 1217, 1364, 1451, 1452, 1557, 1586, 4025})


@asynccontextmanager
async def opened(link: Link, *, read_only: bool, seconds: float) -> AsyncIterator[MariadbSession]:
    """Connect and begin a transaction."""
    import pymysql

    fields = link.fields
    trusted = trusting(fields.ca) if fields.tls == "verify" else None
    sock = await link.dial(fields.host, fields.port)
    connection: Connection[Any] = pymysql.connect(
        host=fields.host,
        user=fields.username,
        password=fields.password.get_secret_value() if fields.password else "",
        database=fields.database,
        charset="utf8mb4",
        ssl=trusted,
        ssl_disabled=trusted is None,
        autocommit=False,
        local_infile=False,
        defer_connect=True,
        read_timeout=seconds + 5,
        write_timeout=seconds + 5,
    )
    made = MariadbSession(connection, sock)
    try:
        await made.begin(read_only=read_only, seconds=seconds)
        yield made
    finally:
        made.close()


class MariadbSession:
    """One transaction with MariaDB."""

    def __init__(self, connection: Connection[Any], sock: socket.socket) -> None:
        self._connection = connection
        self._sock = sock

    async def begin(self, *, read_only: bool, seconds: float) -> None:
        """Sign in and begin."""

        def sign_in() -> None:
            self._sock.setblocking(True)
            self._connection.connect(self._sock)
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT version()")
                if "MariaDB" in str(cursor.fetchone()):
                    cursor.execute("SET SESSION max_statement_time = %s", (seconds,))
                cursor.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
                if read_only:  # of the session: CREATE and the like would end a transaction that alone is so
                    cursor.execute("SET SESSION TRANSACTION READ ONLY")
                cursor.execute("START TRANSACTION")

        await self._in_thread(sign_in)

    async def run(self, statement: Statement, rows: Sequence[Mapping[str, Json]], most: int | None) -> Result:
        """Run a statement once for each row of parameters."""
        text = statement.written("pyformat")

        def execute() -> Result:
            result = Result((), [], 0)
            with self._connection.cursor() as cursor:
                for row in rows:
                    cursor.execute(text, {name: text_of(value) for name, value in row.items()})
                    columns = tuple(each[0] for each in cursor.description or ())
                    found = (cursor.fetchall() if most is None else cursor.fetchmany(most)) if columns else []
                    result = Result(columns, found, result.count + max(0, cursor.rowcount))
            return result

        return await self._in_thread(execute)

    async def commit(self) -> None:
        """Make it durable."""
        import pymysql

        try:
            await self._in_thread(self._connection.commit)
        except TryAgain as error:
            cause = error.__cause__
            if not isinstance(cause, pymysql.Error) or cause.args[:1] == () or cause.args[0] in _LOST:
                raise Lost(error.message) from error
            raise

    def close(self) -> None:
        """Hang up, which takes back what is not committed."""
        self._sock.close()
        self._connection._force_close()  # type: ignore[attr-defined]  # noqa: SLF001  `close` would tell a server that may be gone

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Do something in a thread; if this call is cancelled, hang up, which ends it."""
        import pymysql

        doing = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            self._sock.shutdown(socket.SHUT_RDWR)
            await asyncio.wait([doing])
            doing.exception()
            raise
        except (pymysql.Error, OSError) as error:
            raise _failure(error) from error


def _failure(error: Exception) -> Fail | TryAgain:
    code, text = (*error.args, None, None)[:2]
    if not isinstance(code, int) or isinstance(error, OSError):
        return failure(f"MariaDB: {error}", None, again=isinstance(error, OSError))
    if code in _CONSTRAINT:
        return Fail("sql.constraint", f"MariaDB: {text}", {"state": str(code)})
    return failure(f"MariaDB: {text}", str(code), again=code in _AGAIN, secret=code in _REFUSED)
