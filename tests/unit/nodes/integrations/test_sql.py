"""Reading and changing databases, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from celeriac import Effect, Fail, Json
from celeriac.testing import OpenLink, Outcome, run_node
from nodes.connections.mariadb import mariadb
from nodes.connections.postgresql import Postgresql, postgresql
from nodes.connections.sqlite import sqlite
from nodes.integrations import sql_execute as module
from nodes.integrations.sql_execute import sql_execute
from nodes.integrations.sql_query import sql_query
from tests.databases import KINDS, Database, database_of, sqlite_at

CREATE = "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT NOT NULL, total NUMERIC(10, 2))"
INSERT = "INSERT INTO orders (id, name, total) VALUES (:id, :name, :total)"
UPSERT = f"{INSERT} ON CONFLICT (id) DO UPDATE SET name = excluded.name, total = excluded.total"
MARIADB_UPSERT = f"{INSERT} ON DUPLICATE KEY UPDATE name = VALUES(name), total = VALUES(total)"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture(params=KINDS)
async def db(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Database:
    made = await database_of(request.param, request, stack)
    created = await execute(made, CREATE, {}, key="create")
    assert created.kind == "output", created
    return made


async def query(db: Database, sql: str, parameters: Json = None, **more: Json) -> Outcome:
    config: dict[str, Json] = {"connection": "db", "sql": sql, "parameters": parameters or {}, **more}
    return await run_node(sql_query, config, connections={"db": db.link})


async def execute(db: Database, sql: str, parameters: Json = None, key: str = "key", **more: Json) -> Outcome:
    config: dict[str, Json] = {"connection": "db", "sql": sql, "parameters": parameters or {}, **more}
    return await run_node(sql_execute, config, connections={"db": db.link}, idempotency_key=key)


async def count(db: Database) -> Json:
    value = (await query(db, "SELECT count(*) AS n FROM orders")).value
    assert isinstance(value, dict)
    assert isinstance(value["rows"], list)
    row = value["rows"][0]
    return row["n"] if isinstance(row, dict) else None


# Reading


async def test_rows_come_as_objects(db: Database) -> None:
    await execute(
        db,
        INSERT,
        [{"id": 1, "name": "it's :me", "total": "9.50"}, {"id": 2, "name": "x%y", "total": None}],
    )
    outcome = await query(db, "SELECT id, name FROM orders WHERE id >= :least ORDER BY id", {"least": 1})
    assert outcome.value == {
        "rows": [{"id": 1, "name": "it's :me"}, {"id": 2, "name": "x%y"}],
        "columns": ["id", "name"],
        "truncated": False,
    }


async def test_a_value_is_never_a_part_of_the_sql(db: Database) -> None:
    hostile = "x'); DROP TABLE orders; --"
    await execute(db, INSERT, {"id": 1, "name": hostile, "total": None})
    outcome = await query(db, "SELECT name FROM orders WHERE name = :name", {"name": hostile})
    assert isinstance(outcome.value, dict)
    assert outcome.value["rows"] == [{"name": hostile}]


async def test_a_colon_that_is_no_parameter_stays_one(db: Database) -> None:
    sql = "SELECT 'a:b' AS a, CAST(:x AS CHAR(5)) AS \"c:d\" -- :not\n /* :neither */ WHERE ':q' <> '100%'"
    if db.kind == "mariadb":
        sql = sql.replace('"', "`")
    outcome = await query(db, sql, {"x": "vwxyz"})
    assert isinstance(outcome.value, dict)
    assert outcome.value["rows"] == [{"a": "a:b", "c:d": "vwxyz"}]


async def test_more_rows_than_the_limit_are_cut_and_that_is_told(db: Database) -> None:
    await execute(db, INSERT, [{"id": n, "name": "x", "total": None} for n in range(5)])
    five, four = [
        (await query(db, "SELECT id FROM orders ORDER BY id", None, limit=limit)).value for limit in (5, 4)
    ]
    assert isinstance(five, dict)
    assert isinstance(four, dict)
    assert isinstance(four["rows"], list)
    assert (five["truncated"], four["truncated"], len(four["rows"])) == (False, True, 4)


@pytest.mark.parametrize(
    "sql", ["DELETE FROM orders", "CREATE TABLE t (a INTEGER)", "SELECT 1; DELETE FROM orders", "COMMIT"]
)
async def test_reading_changes_nothing(db: Database, sql: str) -> None:
    await execute(db, INSERT, {"id": 1, "name": "x", "total": None})
    outcome = await query(db, sql)
    assert outcome.kind == "failed" or sql == "COMMIT"
    assert await count(db) == 1


async def test_two_columns_of_one_name_are_refused(db: Database) -> None:
    assert (await query(db, "SELECT 1 AS a, 2 AS a")).code == "sql.duplicate_column"


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({}, "no value for name"),
        ({"name": 1, "more": 2}, "a value for more"),
        ({"nam": 1}, "no value for name"),
    ],
)
async def test_each_parameter_needs_a_value_and_each_value_a_parameter(
    db: Database, parameters: Json, word: str
) -> None:
    outcome = await query(db, "SELECT :name AS n", parameters)
    assert outcome.code == "sql.parameters"
    assert outcome.error is not None
    assert word in outcome.error.message


async def test_an_error_of_the_database_is_told_with_its_state(db: Database) -> None:
    outcome = await query(db, "SELECT nothing FROM nowhere")
    assert (outcome.kind, outcome.code) == ("failed", "sql.failed")
    assert outcome.error is not None
    assert outcome.error.details["state"] in ("SQLITE_ERROR", "42P01", "1146")


async def test_json_goes_in_and_comes_out(db: Database) -> None:
    cast = {"postgresql": "jsonb", "sqlite": "TEXT", "mariadb": "CHAR"}[db.kind]
    outcome = await query(db, f"SELECT CAST(:v AS {cast}) AS v", {"v": {"a": [1, {"b": None}]}})
    assert isinstance(outcome.value, dict)
    expected: Json = {"a": [1, {"b": None}]} if db.kind == "postgresql" else '{"a": [1, {"b": null}]}'
    assert outcome.value["rows"] == [{"v": expected}]


async def test_the_sql_holds_no_expression() -> None:
    for node_type in (sql_query, sql_execute):
        assert node_type.config_schema()["properties"]["sql"]["x-celeriac-literal"] is True


# Changing


@pytest.mark.parametrize(
    ("config", "effect"),
    [
        ({}, Effect.ONCE),
        ({"idempotent": True}, Effect.KEYED),
        ({"idempotent": "{{ vars.x }}"}, Effect.ONCE),
        ({"remember": "effects"}, Effect.KEYED),
        ({"remember": "{{ vars.x }}"}, Effect.ONCE),
        ({"remember": None}, Effect.ONCE),
    ],
)
def test_the_effect_follows_from_the_written_config(config: dict[str, Json], effect: Effect) -> None:
    assert sql_execute.effect_of(config) is effect


async def test_many_rows_are_one_transaction(db: Database) -> None:
    rows: list[Json] = [{"id": n, "name": "x", "total": None} for n in (1, 2, 3)]
    assert (await execute(db, INSERT, rows)).value == {"count": 3, "rows": []}
    twice = await execute(db, INSERT, [{"id": 4, "name": "x", "total": None}, rows[0]])
    assert (twice.kind, twice.code) == ("failed", "sql.constraint")
    assert await count(db) == 3


async def test_an_upsert_comes_to_the_same_when_repeated(db: Database) -> None:
    rows: list[Json] = [{"id": 1, "name": "a", "total": "1.00"}]
    for _ in range(2):
        upsert = MARIADB_UPSERT if db.kind == "mariadb" else UPSERT
        assert (await execute(db, upsert, rows, idempotent=True)).kind == "output"
    assert await count(db) == 1


async def test_what_returning_gives_is_handed_on(db: Database) -> None:
    outcome = await execute(db, f"{INSERT} RETURNING id, name", {"id": 7, "name": "x", "total": None})
    assert outcome.value == {"count": 1, "rows": [{"id": 7, "name": "x"}]}


async def test_a_remembered_change_happens_once_a_key_and_tells_the_same(db: Database) -> None:
    sql = "INSERT INTO orders (id, name) SELECT coalesce(max(id), 0) + 1, :name FROM orders RETURNING id"
    first = await execute(db, sql, {"name": "x"}, "k1", remember="effects")
    again = await execute(db, sql, {"name": "x"}, "k1", remember="effects")
    other = await execute(db, sql, {"name": "x"}, "k2", remember="effects")
    assert first.value == again.value == {"count": 1, "rows": [{"id": 1}]}
    assert other.value == {"count": 1, "rows": [{"id": 2}]}
    assert await count(db) == 2


async def test_a_change_that_failed_is_not_remembered(db: Database) -> None:
    await execute(db, INSERT, {"id": 1, "name": "x", "total": None})
    row: dict[str, Json] = {"id": 1, "name": "x", "total": None}
    assert (await execute(db, INSERT, row, "k1", remember="effects")).code == "sql.constraint"
    row["id"] = 2
    assert (await execute(db, INSERT, row, "k1", remember="effects")).kind == "output"


async def test_two_attempts_at_once_make_one_change(db: Database) -> None:
    await execute(
        db, "INSERT INTO orders (id, name) VALUES (:id, :n)", {"id": 0, "n": "x"}, "k0", remember="effects"
    )
    sql = "INSERT INTO orders (id, name) SELECT max(id) + 1, :n FROM orders"
    attempts = (execute(db, sql, {"n": "x"}, "k1", remember="effects") for _ in range(3))
    outcomes = await asyncio.gather(*attempts)
    assert {each.kind for each in outcomes} <= {"output", "try_again"}
    assert "output" in {each.kind for each in outcomes}
    assert await count(db) == 2


async def test_too_many_rows_of_parameters_are_refused(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PARAMETER_ROWS", 2)
    rows: list[Json] = [{"id": n, "name": "x", "total": None} for n in range(3)]
    assert (await execute(db, INSERT, rows)).code == "sql.parameters"
    assert (await execute(db, INSERT, rows[:2])).kind == "output"


# What may go wrong on the way


@pytest.fixture
async def pg(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Database:
    made = await database_of("postgresql", request, stack)
    created = await execute(made, CREATE, {}, key="create")
    assert created.kind == "output", created
    return made


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("more", "kind"),
    [({}, "uncertain"), ({"remember": "effects"}, "try_again"), ({"idempotent": True}, "try_again")],
)
async def test_a_commit_without_an_answer_is_in_doubt_unless_it_may_be_repeated(
    pg: Database, more: dict[str, Json], kind: str, after: bool
) -> None:
    assert pg.way is not None
    pg.way.cut_at, pg.way.after = b"COMMIT", after
    row: dict[str, Json] = {"id": 1, "name": "x", "total": None}
    outcome = await execute(pg, INSERT, row, "k1", **more)
    assert outcome.kind == kind
    pg.way.cut_at, pg.way.mute = None, False
    assert await count(pg) == (1 if after else 0)
    if more:
        again = await execute(pg, UPSERT if "idempotent" in more else INSERT, row, "k1", **more)
        assert (again.value, await count(pg)) == ({"count": 1, "rows": []}, 1)


async def test_a_connection_that_breaks_before_the_commit_has_done_nothing(pg: Database) -> None:
    assert pg.way is not None
    pg.way.cut_at = b"INSERT"
    outcome = await execute(pg, INSERT, {"id": 1, "name": "x", "total": None})
    assert (outcome.kind, outcome.code) == ("try_again", "sql.again")
    pg.way.cut_at = None
    assert await count(pg) == 0


async def test_a_statement_that_takes_too_long_may_be_tried_again(pg: Database) -> None:
    outcome = await query(pg, "SELECT pg_sleep(20)", None, timeout=0.05)
    assert (outcome.kind, outcome.code) == ("try_again", "sql.again")
    assert outcome.error is not None
    assert outcome.error.details["state"] == "57014"


async def test_a_cancelled_statement_does_not_go_on(pg: Database) -> None:
    running = asyncio.ensure_future(query(pg, "SELECT pg_sleep(20), 'find me'"))
    looking = "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE :q AND pid <> pg_backend_pid() AND state = 'active'"

    async def active() -> int:
        found: Any = (await query(pg, looking, {"q": "%find me%"})).value
        return int(found["rows"][0]["n"])

    while await active() == 0:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    while await active():
        await asyncio.sleep(0.01)


async def test_a_wrong_password_or_a_server_without_encryption_is_told(pg: Database) -> None:
    assert (await postgresql.test(pg.link.fields, pg.link)).startswith("127.0.0.1 is PostgreSQL ")
    pg.link.fields = pg.link.fields.model_copy(update={"tls": "require"})
    outcome = await query(pg, "SELECT 1 AS a")
    assert (outcome.kind, outcome.code) == ("failed", "sql.failed")
    pg.link.fields = pg.link.fields.model_copy(update={"tls": "none", "database": "nowhere"})
    assert (await query(pg, "SELECT 1 AS a")).kind == "try_again"
    pg.link.fields = pg.link.fields.model_copy(update={"port": 1})
    assert (await query(pg, "SELECT 1 AS a")).kind == "try_again"


async def test_a_commit_of_mariadb_without_an_answer_is_in_doubt_too(
    request: pytest.FixtureRequest, stack: AsyncExitStack
) -> None:
    db = await database_of("mariadb", request, stack)
    await execute(db, CREATE, {}, key="create")
    assert db.way is not None
    db.way.cut_at, db.way.after = b"\x03COMMIT", True
    outcome = await execute(db, INSERT, {"id": 1, "name": "x", "total": None})
    assert outcome.kind == "uncertain"
    db.way.cut_at, db.way.mute = None, False
    assert await count(db) == 1
    db.way.cut_at, db.way.after = b"INSERT", False
    assert (await execute(db, INSERT, {"id": 2, "name": "x", "total": None})).kind == "try_again"
    db.way.cut_at = None
    assert await count(db) == 1


async def test_mariadb_tells_a_wrong_password_and_stops_what_is_cancelled(
    request: pytest.FixtureRequest, stack: AsyncExitStack
) -> None:
    db = await database_of("mariadb", request, stack)
    assert "MariaDB" in await mariadb.test(db.link.fields, db.link)
    late = await query(db, "SELECT sleep(20) AS s", None, timeout=0.1)
    assert late.kind in ("try_again", "output")  # sleep itself is cut short, and answers 1
    running = asyncio.ensure_future(query(db, "SELECT sleep(20) AS s"))
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    db.link.fields = db.link.fields.model_copy(update={"password": SecretStr("wrong")})
    outcome = await query(db, "SELECT 1 AS a")
    assert (outcome.kind, outcome.code) == ("failed", "connection.refused")


async def test_a_refused_password_is_told_and_not_tried_again() -> None:
    """The server of the tests trusts everybody, so this one only says what a strict one says."""

    async def strict(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4))
        await reader.readexactly(size - 4)
        writer.write(b"R" + (8).to_bytes(4) + (3).to_bytes(4))  # a password, in the clear
        await reader.readexactly(1)
        size = int.from_bytes(await reader.readexactly(4))
        assert b"s3cr3t" in await reader.readexactly(size - 4)
        fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0"
        writer.write(b"E" + (4 + len(fields)).to_bytes(4) + fields)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(strict, "127.0.0.1", 0) as server:
        fields = Postgresql(
            host="127.0.0.1",
            port=server.sockets[0].getsockname()[1],
            database="d",
            username="ada",
            password=SecretStr("s3cr3t-p4ssw0rd"),
            tls="none",
        )
        outcome = await query(Database("postgresql", OpenLink("postgresql", fields), None), "SELECT 1 AS a")
    assert (outcome.kind, outcome.code) == ("failed", "connection.refused")
    assert "s3cr3t" not in str(outcome.error)


def files_of(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH DATABASE '{other}' AS o",
        "VACUUM INTO '{other}2'",
        "PRAGMA writable_schema = ON",
        "PRAGMA journal_mode = OFF",
        "SELECT load_extension('x')",
        "SELECT readfile('{other}')",
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
    ],
)
async def test_a_statement_does_not_leave_its_file(tmp_path: Path, stack: AsyncExitStack, sql: str) -> None:
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (a)").connection.close()
    made = await sqlite_at(tmp_path)
    outcome = await execute(made, sql.format(other=other))
    assert outcome.kind == "failed"
    assert files_of(tmp_path) == ["orders.db", "other.db"]


async def test_a_file_is_made_only_where_that_is_said(tmp_path: Path) -> None:
    strict = await sqlite_at(tmp_path, create=False)
    with pytest.raises(Fail):
        await sqlite.test(strict.link.fields, strict.link)
    assert (await execute(strict, CREATE)).kind == "failed"
    assert files_of(tmp_path) == []
    loose = await sqlite_at(tmp_path)
    assert (
        await sqlite.test(loose.link.fields, loose.link) == f"{tmp_path}/orders.db has 0 tables and indexes."
    )


async def test_a_file_that_another_writes_to_may_be_tried_again(tmp_path: Path) -> None:
    made = await sqlite_at(tmp_path)
    await execute(made, CREATE)
    other = sqlite3.connect(tmp_path / "orders.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    outcome = await execute(made, INSERT, {"id": 1, "name": "x", "total": None}, timeout=0.05)
    other.close()
    assert (outcome.kind, outcome.code) == ("try_again", "sql.again")


async def test_a_long_statement_on_a_file_stops_when_it_is_cancelled(tmp_path: Path) -> None:
    made = await sqlite_at(tmp_path)
    await execute(made, CREATE)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"
    running = asyncio.ensure_future(query(made, endless))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
